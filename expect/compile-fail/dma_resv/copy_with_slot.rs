// SPDX-License-Identifier: GPL-2.0
//! Rule 2, no over-use: copying fences needs slots, too.

use kernel::{dma_fence::DriverDmaFence, dma_resv::{DmaResv, Usage}, prelude::*};

pub fn case(resv: &DmaResv, from: &DmaResv, a: &DriverDmaFence) -> Result {
    let mut guard = resv.lock();
    let slot = guard.reserve_one()?;
    guard.copy_fences(from)?; //~ E0499
    slot.add(a, Usage::Write);
    let _ = from;
    Ok(())
}
