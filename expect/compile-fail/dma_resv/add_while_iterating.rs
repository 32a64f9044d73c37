// SPDX-License-Identifier: GPL-2.0
//! Adding a fence may put the one that an iterator has returned.

use kernel::{dma_resv::{DmaResv, Usage}, prelude::*};

pub fn case(resv: &DmaResv) -> Result {
    let mut guard = resv.lock();
    for (fence, _) in guard.iter(Usage::Read) {
        let _slot = guard.reserve_one()?; //~ E0502
        let _ = fence.seqno();
    }
    let _ = &mut guard;
    Ok(())
}
