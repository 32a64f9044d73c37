// SPDX-License-Identifier: GPL-2.0
//! No guard outlives the call that has locked.

use kernel::{
    dma_resv::{self, DmaResv, ManyGuard},
    prelude::*,
};

pub fn case(resv: &DmaResv) -> Result {
    let mut stash = None::<&mut [(ManyGuard<'_>, ())]>;
    dma_resv::lock_many([(resv, ())].iter().copied(), |guards| {
        stash = Some(guards); //~ E0521
        let _ = guards;
        Ok(())
    })?;
    stash = None;
    drop(stash);
    Ok(())
}
