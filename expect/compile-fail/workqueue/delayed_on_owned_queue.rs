// SPDX-License-Identifier: GPL-2.0
//! No timer enqueues an item on a queue that may be destroyed.

use kernel::{
    impl_has_delayed_work, new_delayed_work,
    prelude::*,
    sync::Arc,
    workqueue::{self, DelayedWork, OwnedQueue, WorkItem},
};

#[pin_data]
pub struct Item {
    #[pin]
    work: DelayedWork<Self>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Item { self.work }
}

impl WorkItem for Item {
    type Pointer = Arc<Self>;

    fn run(_this: Arc<Self>) {}
}

pub fn case(queue: OwnedQueue) -> Result {
    let item = || Arc::pin_init(pin_init!(Item { work <- new_delayed_work!("case") }), GFP_KERNEL);
    let _ = workqueue::system().enqueue_delayed(item()?, 1);
    let _ = queue.enqueue(item()?);
    let _ = queue.enqueue_delayed(item()?, 1); //~ E0597
    Ok(())
}
