// SPDX-License-Identifier: GPL-2.0
//! No guard outlives its acquire context.

use kernel::{dma_resv::{self, DmaResv}, prelude::*};

pub fn case(resv: &DmaResv) -> Result {
    let mut stash = None;
    dma_resv::acquire(|ctx| -> Result {
        stash = Some(ctx.lock_all(|locks| locks.lock(resv))?); //~ error
        Ok(())
    })?;
    stash = stash.or_else(|| Some(resv.lock()));
    drop(stash);
    Ok(())
}
