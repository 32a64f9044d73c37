// SPDX-License-Identifier: GPL-2.0
//! A guard of `lock_many()` can't be leaked by putting that of another object in its place.

use kernel::{
    dma_resv::{self, DmaResv},
    prelude::*,
};

pub fn case(resv: &DmaResv, other: &'static DmaResv) -> Result {
    dma_resv::lock_many([(resv, ())].iter().copied(), |guards| {
        core::mem::forget(core::mem::replace(&mut *guards[0].0, other.lock())); //~ E0596
        Ok(())
    })
}
