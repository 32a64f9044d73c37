// SPDX-License-Identifier: GPL-2.0
//! A fence is signaled by its emitter only.

use kernel::dma_fence::{DmaFence, DriverDmaFence};

pub fn case(fence: &DmaFence, driver: DriverDmaFence) {
    fence.signal(Ok(())); //~ E0599
    driver.signal(Ok(()));
    let _ = fence;
}
