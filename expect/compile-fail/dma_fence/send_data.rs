// SPDX-License-Identifier: GPL-2.0
//! A fence goes to another thread with the driver's data.

use core::{cell::Cell, marker::PhantomData};
use kernel::dma_fence::DriverDmaFence;

fn send<T: Send>(_: T) {}
fn share<T: Sync>(_: &T) {}

pub fn unsent(fence: DriverDmaFence<PhantomData<*mut u8>>) {
    send(fence); //~ E0277
}

pub fn unshared(fence: DriverDmaFence<Cell<u8>>) {
    share(&fence); //~ E0277
    send(fence);
    share(&());
}
