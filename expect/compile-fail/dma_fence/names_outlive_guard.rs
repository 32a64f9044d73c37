// SPDX-License-Identifier: GPL-2.0
//! Names are freed a grace period after the fence was signaled.

use kernel::{dma_fence::DmaFence, sync::rcu};

pub fn case(fence: &DmaFence) -> usize {
    let guard = rcu::read_lock();
    let name = fence.timeline_name(&guard);
    drop(guard); //~ E0505
    name.to_bytes().len()
}
