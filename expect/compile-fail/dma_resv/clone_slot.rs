// SPDX-License-Identifier: GPL-2.0
//! Rule 2, no over-use: a slot can't be copied.

use kernel::{dma_resv::DmaResv, prelude::*};

pub fn case(resv: &DmaResv) -> Result {
    let mut guard = resv.lock();
    let slot = guard.reserve_one()?;
    let _other = slot.clone(); //~ E0599
    let _ = slot;
    Ok(())
}
