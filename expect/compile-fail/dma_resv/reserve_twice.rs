// SPDX-License-Identifier: GPL-2.0
//! Rule 2, no over-use: reservations are not cumulative, so there is one at a time.

use kernel::{dma_fence::DriverDmaFence, dma_resv::{DmaResv, Usage}, prelude::*};

pub fn case(resv: &DmaResv, a: &DriverDmaFence) -> Result {
    let mut guard = resv.lock();
    let slot = guard.reserve_one()?;
    let _more = guard.reserve_one()?; //~ E0499
    slot.add(a, Usage::Write);
    Ok(())
}
