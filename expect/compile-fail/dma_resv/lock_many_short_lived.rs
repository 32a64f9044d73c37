// SPDX-License-Identifier: GPL-2.0
//! The objects outlive the call that locks them, even if what yields them ends before.

use kernel::{
    dma_resv::{self, DmaResv},
    prelude::*,
};

pub fn case(outer: &DmaResv) -> Result {
    let mut resvs = [(outer, ())];
    {
        let inner = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
        resvs[0].0 = &inner; //~ E0597
    }
    dma_resv::lock_many(resvs.iter().copied(), |_| Ok(()))
}
