// SPDX-License-Identifier: GPL-2.0
//! What finds a queue that may be dropped can use it only while that waits.

use kernel::workqueue::{OwnedQueue, Queue, WeakQueue};

pub fn case(queue: OwnedQueue) {
    let weak: WeakQueue = queue.downgrade();
    let mut kept: Option<&Queue> = None;
    weak.with(|_queue| {
        kept = Some(_queue); //~ E0521
    });
    drop(queue);
    let _ = kept;
}
