// SPDX-License-Identifier: GPL-2.0
//! An acquire context stays in its thread.

use kernel::dma_resv;

fn send<T: Send>(_: T) {}

pub fn case() {
    dma_resv::acquire(|ctx| {
        send(ctx); //~ E0277
        send(());
    })
}
