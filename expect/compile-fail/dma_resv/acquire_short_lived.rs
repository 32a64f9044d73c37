// SPDX-License-Identifier: GPL-2.0
//! An object outlives the context that it is locked with, even if its guard is leaked.

use kernel::{dma_resv::{self, DmaResv}, prelude::*};

pub fn case(outer: &DmaResv) -> Result {
    dma_resv::acquire(|ctx| -> Result {
        let inner = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
        let mut resv = outer;
        resv = &inner; //~ E0597
        core::mem::forget(ctx.lock_all(|locks| locks.lock(resv))?);
        Ok(())
    })
}
