// SPDX-License-Identifier: GPL-2.0
//! Two calls of `lock_many()` can't exchange guards, even if one is inside the other.

use kernel::{
    dma_resv::{self, DmaResv},
    prelude::*,
};

pub fn case(a: &'static DmaResv, b: &'static DmaResv) -> Result {
    dma_resv::lock_many([(a, ())].iter().copied(), |outer| {
        dma_resv::lock_many([(b, ())].iter().copied(), |inner| {
            core::mem::swap(&mut outer[0].0, &mut inner[0].0); //~ E0521
            let _ = (&outer, &inner);
            Ok(())
        })
    })
}
