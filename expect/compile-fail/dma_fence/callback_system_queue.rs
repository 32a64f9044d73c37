// SPDX-License-Identifier: GPL-2.0
//! A fence enqueues no item on a queue that is never dropped, and so never waits for it.

use kernel::{
    dma_fence::{QueueWork, UnarmedDmaFenceCb},
    impl_has_work,
    prelude::*,
    sync::Arc,
    workqueue::{self, OwnedQueue, Work, WorkItem},
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

pub fn case(item: Arc<Item>, queue: &OwnedQueue) -> Result {
    let _ = UnarmedDmaFenceCb::new(QueueWork::new(queue, item.clone()), GFP_KERNEL)?;
    let _ = QueueWork::new(workqueue::system(), item); //~ E0308
    Ok(())
}
