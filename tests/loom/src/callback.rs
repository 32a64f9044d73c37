// SPDX-License-Identifier: GPL-2.0

//! `DmaFenceCb` and `QueueWork` of `rust/kernel/dma_fence/cb.rs`: what the callback did is known to
//! who drops it, and is over. There is no ordering but that of the fence's lock.

use loom::{
    cell::UnsafeCell,
    sync::{
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Acquire, Relaxed},
        },
        Mutex,
    },
    thread,
};
use std::sync::Arc;

#[derive(Clone, Copy)]
struct Kernel {
    /// `drop()` takes the fence's lock even if the fence is signalled.
    locks: bool,
}

struct Callback {
    /// The fence's lock, and its list.
    registered: Mutex<bool>,
    signaled: AtomicBool,
    /// What is in the `DmaFenceCb`.
    data: UnsafeCell<u32>,
    done: AtomicBool,
    /// The references to the work item.
    items: AtomicUsize,
}

impl Callback {
    /// C's `dma_fence_signal()`.
    fn signal(&self) {
        let mut registered = self.registered.lock().unwrap();
        self.signaled.store(true, Relaxed);
        if std::mem::take(&mut *registered) {
            self.call();
        }
    }

    /// `DmaFenceCb::func()` and `Enqueue::call()`: the queue takes one reference.
    fn call(&self) {
        // SAFETY: Loom checks it.
        assert_eq!(self.data.with(|data| unsafe { *data }), 7);
        self.done.store(true, Relaxed);
    }

    /// `DmaFenceCb::drop()`, then `QueueWork::drop()`.
    fn end(&self, kernel: Kernel) {
        if kernel.locks || !self.signaled.load(Acquire) {
            // C's `dma_fence_remove_callback()`.
            *self.registered.lock().unwrap() = false;
        }
        if !self.done.load(Relaxed) {
            self.items.fetch_sub(1, Relaxed);
        }
        // SAFETY: Loom checks it.
        self.data.with_mut(|data| unsafe { *data = 0 });
    }
}

fn drops(kernel: Kernel) {
    loom::model(move || {
        let callback = Arc::new(Callback {
            registered: Mutex::new(true),
            signaled: AtomicBool::new(false),
            data: UnsafeCell::new(7),
            done: AtomicBool::new(false),
            items: AtomicUsize::new(1),
        });
        let signaller = {
            let callback = callback.clone();
            thread::spawn(move || callback.signal())
        };
        callback.end(kernel);
        signaller.join().unwrap();

        // The reference is either given to the queue or put.
        let queued = callback.done.load(Relaxed) as usize;
        assert_eq!(callback.items.load(Relaxed), queued);
    });
}

#[test]
fn dropped() {
    drops(Kernel { locks: true });
}

#[test]
#[should_panic]
fn dropped_without_lock() {
    drops(Kernel { locks: false });
}

#[test]
fn is_the_kernels() {
    let file = "rust/kernel/dma_fence/cb.rs";
    crate::is_modelled(file, "    fn drop(self: Pin<&mut Self>)", &["self.remove()"]);
    crate::is_modelled(file, "    fn drop(&mut self)", &["enqueue.done.load(Relaxed)"]);
    crate::is_modelled(
        file,
        "unsafe { DmaFenceCb::<Enqueue>::func",
        &["self.done.store(done, Relaxed)"],
    );
}
