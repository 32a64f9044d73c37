// SPDX-License-Identifier: GPL-2.0
//! Rule 1, reserve first: a guard can't add a fence.

use kernel::{dma_fence::DriverDmaFence, dma_resv::{DmaResv, Usage}};

pub fn case(resv: &DmaResv, fence: &DriverDmaFence) {
    let guard = resv.lock();
    let usage = Usage::Write;
    guard.add(fence, usage); //~ E0599
    let _ = (fence, usage, &guard);
}
