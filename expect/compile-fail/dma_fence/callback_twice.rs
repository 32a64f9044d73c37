// SPDX-License-Identifier: GPL-2.0
//! The memory of a callback is registered on one fence at a time.

use kernel::{
    dma_fence::{DmaFence, UnarmedDmaFenceCb},
    prelude::*,
    sync::{aref::ARef, Arc, Completion},
};

pub fn case(cb: UnarmedDmaFenceCb<Arc<Completion>>, a: ARef<DmaFence>, b: ARef<DmaFence>) -> Result {
    let _a = cb.register(a)?;
    let _b = cb.register(b)?; //~ E0382
    Ok(())
}
