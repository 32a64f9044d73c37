// SPDX-License-Identifier: GPL-2.0
//! Rule 3, not after unlock: nor is the guard leaked.

use kernel::{dma_fence::DriverDmaFence, dma_resv::{DmaResv, Usage}, prelude::*};

pub fn case(resv: &DmaResv, a: &DriverDmaFence) -> Result {
    let mut guard = resv.lock();
    let slot = guard.reserve_one()?;
    core::mem::forget(guard); //~ E0505
    slot.add(a, Usage::Write);
    Ok(())
}
