// SPDX-License-Identifier: GPL-2.0
//! The scope of `signalling()` is one of a thread.

use kernel::dma_fence::signalling;

fn send<T: Send>(_: T) {}

pub fn case() {
    signalling(|token| {
        send(token); //~ E0277
        let _ = token;
    });
    send(());
}
