// SPDX-License-Identifier: GPL-2.0
//! Rule 3, not after unlock: slots don't outlive the guard.

use kernel::{dma_fence::DriverDmaFence, dma_resv::{DmaResv, DmaResvSlot, Usage}, prelude::*};

pub fn case(resv: &DmaResv, a: &DriverDmaFence) -> Result {
    let mut slot: Option<DmaResvSlot<'_>> = None;
    {
        let mut guard = resv.lock();
        slot = guard.reserve(2)?.next(); //~ E0597
    }
    if let Some(slot) = slot.take() {
        slot.add(a, Usage::Write);
    }
    Ok(())
}
