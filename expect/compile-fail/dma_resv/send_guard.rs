// SPDX-License-Identifier: GPL-2.0
//! Whoever locks unlocks.

use kernel::dma_resv::DmaResv;

fn send<T: Send>(_: T) {}

pub fn case(resv: &DmaResv) {
    let guard = resv.lock();
    send(guard); //~ E0277
    send(());
}
