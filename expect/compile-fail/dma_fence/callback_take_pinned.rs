// SPDX-License-Identifier: GPL-2.0
//! Data that must not be moved is not taken out of a callback.

use core::pin::Pin;
use kernel::{dma_fence::UnarmedDmaFenceCb, sync::{Completion, Arc}};

pub fn case(cb: UnarmedDmaFenceCb<Completion>, other: UnarmedDmaFenceCb<Arc<Completion>>) -> Arc<Completion> {
    let _: Pin<&Completion> = cb.data();
    let _ = cb.take(); //~ E0277
    other.take()
}
