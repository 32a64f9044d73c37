// SPDX-License-Identifier: GPL-2.0
//! No code of a driver's own finds the queue of a `QueueWork`, with the fence's lock held.

use core::ops::Deref;
use kernel::{
    dma_fence::{DmaFenceCbFunc, QueueWork},
    impl_has_work,
    prelude::*,
    sync::Arc,
    workqueue::{self, OwnedQueue, Queue, Work, WorkItem},
};

#[pin_data]
pub struct Item {
    #[pin]
    work: Work<Self>,
}

impl_has_work! {
    impl HasWork<Self> for Item { self.work }
}

impl WorkItem for Item {
    type Pointer = Arc<Self>;

    fn run(_this: Arc<Self>) {}
}

pub struct Own;

impl Deref for Own {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        workqueue::system()
    }
}

fn callback<T: DmaFenceCbFunc>() {}

pub fn case() {
    callback::<QueueWork<Item>>();
    callback::<QueueWork<Item, Arc<OwnedQueue>>>();
    callback::<QueueWork<Item, Own>>(); //~ E0277
}
