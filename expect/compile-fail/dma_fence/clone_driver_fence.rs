// SPDX-License-Identifier: GPL-2.0
//! There is one owner of a fence that can signal it.

use kernel::dma_fence::DriverDmaFence;

pub fn case(fence: DriverDmaFence) {
    let _other: DriverDmaFence = fence.clone(); //~ E0599
    fence.signal(Ok(()));
}
