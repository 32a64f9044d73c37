// SPDX-License-Identifier: GPL-2.0
//! All is locked at once, as what is held already could not be given back.

use kernel::{dma_resv::{self, DmaResv}, prelude::*};

pub fn case(a: &DmaResv, b: &DmaResv) -> Result {
    dma_resv::acquire(|ctx| -> Result {
        let _a = ctx.lock_all(|locks| locks.lock(a))?;
        let _b = ctx.lock_all(|locks| locks.lock(b))?; //~ E0382
        let _ = b;
        Ok(())
    })
}
