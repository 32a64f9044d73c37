// SPDX-License-Identifier: GPL-2.0
//! Rule 2, no over-use: a slot takes one fence.

use kernel::{dma_fence::DriverDmaFence, dma_resv::{DmaResv, Usage}, prelude::*};

pub fn case(resv: &DmaResv, a: &DriverDmaFence, b: &DriverDmaFence) -> Result {
    let mut guard = resv.lock();
    let slot = guard.reserve_one()?;
    slot.add(a, Usage::Write);
    slot.add(b, Usage::Write); //~ E0382
    let _ = b;
    Ok(())
}
