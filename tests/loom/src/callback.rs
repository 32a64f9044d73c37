// SPDX-License-Identifier: GPL-2.0

//! `DmaFenceCb` of `rust/kernel/dma_fence/cb.rs`: when it is dropped, the callback has returned or
//! won't be called, and what the callback wrote is seen. There is no ordering but that of the fence's
//! lock.

use loom::{
    cell::UnsafeCell,
    sync::{
        atomic::{
            AtomicBool,
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
    called: AtomicBool,
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

    /// `func()`.
    fn call(&self) {
        // SAFETY: Loom checks it.
        assert_eq!(self.data.with(|data| unsafe { *data }), 7);
        self.called.store(true, Relaxed);
    }

    /// `DmaFenceCb::drop()`, then that of the data. Returns whether it was called.
    fn end(&self, kernel: Kernel) -> bool {
        if kernel.locks || !self.signaled.load(Acquire) {
            // C's `dma_fence_remove_callback()`.
            *self.registered.lock().unwrap() = false;
        }
        // SAFETY: Loom checks it.
        self.data.with_mut(|data| unsafe { *data = 0 });
        self.called.load(Relaxed)
    }
}

fn drops(kernel: Kernel) {
    loom::model(move || {
        let callback = Arc::new(Callback {
            registered: Mutex::new(true),
            signaled: AtomicBool::new(false),
            data: UnsafeCell::new(7),
            called: AtomicBool::new(false),
        });
        let signaller = {
            let callback = callback.clone();
            thread::spawn(move || callback.signal())
        };
        let called = callback.end(kernel);
        signaller.join().unwrap();

        assert_eq!(callback.called.load(Relaxed), called);
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
    crate::is_modelled(file, "    fn drop(&mut self)", &["self.remove_raw()"]);
}
