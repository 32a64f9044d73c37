// SPDX-License-Identifier: GPL-2.0
//! A fence that an iterator returned is borrowed from the guard.

use kernel::{dma_resv::{DmaResv, Usage}, prelude::*};

pub fn case(resv: &DmaResv) -> Result {
    let guard = resv.lock();
    let first = guard.iter(Usage::Read).next();
    drop(guard); //~ E0505
    if let Some((fence, _)) = first {
        let _ = fence.seqno();
    }
    Ok(())
}
