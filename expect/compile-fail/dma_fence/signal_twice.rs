// SPDX-License-Identifier: GPL-2.0
//! A fence is signaled once.

use kernel::dma_fence::DriverDmaFence;

pub fn case(fence: DriverDmaFence) {
    fence.signal(Ok(()));
    fence.signal(Ok(())); //~ E0382
}
