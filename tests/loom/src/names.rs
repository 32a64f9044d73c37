// SPDX-License-Identifier: GPL-2.0

//! `DmaFenceNames` of `rust/kernel/dma_fence/ctx.rs`: who drops the last reference frees them, once
//! those are gone that found them through an unsignalled fence, under RCU.

use loom::{
    cell::UnsafeCell,
    sync::atomic::{
        fence, AtomicBool, AtomicI64,
        Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst},
    },
    thread,
};
use std::sync::Arc;

#[derive(Clone, Copy)]
struct Kernel {
    /// Of `dec_ref()`.
    dec: Ordering,
    /// `complete()` signals the fence before it drops its reference.
    signal_first: bool,
    /// `dec_ref()` leaves it to RCU to free the memory.
    rcu: bool,
}

const KERNEL: Kernel = Kernel { dec: AcqRel, signal_first: true, rcu: true };

struct Names {
    refcount: AtomicI64,
    names: UnsafeCell<u32>,
    /// Of the one fence.
    signaled: AtomicBool,
    /// Of the one reader: it is in a critical section.
    reader: AtomicBool,
}

impl Names {
    fn new(refcount: i64) -> Arc<Self> {
        Arc::new(Self {
            refcount: AtomicI64::new(refcount),
            names: UnsafeCell::new(7),
            signaled: AtomicBool::new(false),
            reader: AtomicBool::new(false),
        })
    }

    fn read(&self) {
        // SAFETY: Loom checks it.
        assert_eq!(self.names.with(|names| unsafe { *names }), 7);
    }

    fn inc_ref(&self) {
        self.refcount.fetch_add(1, Relaxed);
    }

    fn dec_ref(&self, kernel: Kernel) {
        if self.refcount.fetch_sub(1, kernel.dec) == 1 {
            if kernel.rcu {
                self.grace_period();
            }
            // SAFETY: Loom checks it.
            self.names.with_mut(|names| unsafe { *names = 0 });
        }
    }

    /// All that RCU promises.
    fn grace_period(&self) {
        fence(SeqCst);
        while self.reader.load(Acquire) {
            thread::yield_now();
        }
    }

    /// C's `dma_fence_driver_name()`, and who calls it.
    fn look(&self) {
        self.reader.store(true, Relaxed);
        fence(SeqCst);
        if !self.signaled.load(Relaxed) {
            self.read();
        }
        self.reader.store(false, Release);
    }

    /// `DriverDmaFence::complete()`.
    fn complete(&self, kernel: Kernel) {
        if kernel.signal_first {
            self.signaled.swap(true, Relaxed);
        }
        self.dec_ref(kernel);
        if !kernel.signal_first {
            self.signaled.swap(true, Relaxed);
        }
    }
}

/// Two timelines, or fences, of which one hands out another reference. It has to do without RCU's
/// barriers.
fn count(kernel: Kernel) {
    let kernel = Kernel { rcu: false, ..kernel };
    loom::model(move || {
        let names = Names::new(2);
        let other = {
            let names = names.clone();
            thread::spawn(move || {
                names.inc_ref();
                names.read();
                names.dec_ref(kernel);
                names.dec_ref(kernel);
            })
        };
        names.read();
        names.dec_ref(kernel);
        other.join().unwrap();
        assert_eq!(names.refcount.load(Relaxed), 0);
    });
}

#[test]
fn counted() {
    count(KERNEL);
}

#[test]
#[should_panic = "Causality violation"]
fn counted_without_acquire() {
    count(Kernel { dec: Release, ..KERNEL });
}

#[test]
#[should_panic = "Causality violation"]
fn counted_without_release() {
    count(Kernel { dec: Acquire, ..KERNEL });
}

/// The last reference is that of a fence, which somebody looks at as it is signalled.
fn signal(kernel: Kernel) {
    loom::model(move || {
        let names = Names::new(1);
        let reader = {
            let names = names.clone();
            thread::spawn(move || names.look())
        };
        names.complete(kernel);
        reader.join().unwrap();
    });
}

#[test]
fn signalled() {
    signal(KERNEL);
}

#[test]
#[should_panic]
fn signalled_without_rcu() {
    signal(Kernel { rcu: false, ..KERNEL });
}

#[test]
#[should_panic]
fn signalled_after_names_were_dropped() {
    signal(Kernel { signal_first: false, ..KERNEL });
}

#[test]
fn is_the_kernels() {
    let file = "rust/kernel/dma_fence/ctx.rs";
    crate::is_modelled(file, "fn inc_ref(&self)", &["refcount.add(1, Relaxed)"]);
    crate::is_modelled(
        file,
        "unsafe fn dec_ref(obj",
        &["refcount.fetch_sub(1, Full) == 1", "kvfree_call_rcu("],
    );
    crate::is_modelled(
        file,
        "unsafe fn complete(",
        &["dma_fence_signal(fence)", "ptr::read(&raw const (*allocation.cast::<Emitted>()).names)"],
    );
}
