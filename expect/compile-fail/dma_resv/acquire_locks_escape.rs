// SPDX-License-Identifier: GPL-2.0
//! Nothing is locked with a context after the closure that locks.

use kernel::{dma_resv, prelude::*};

pub fn case() -> Result {
    dma_resv::acquire(|ctx| -> Result {
        let mut stash = None;
        ctx.lock_all(|locks| {
            stash = Some(locks); //~ E0521
            let _ = locks;
            Ok(())
        })?;
        if false {
            stash = None::<&dma_resv::DmaResvLocks<'_, '_>>;
        }
        drop(stash);
        Ok(())
    })
}
