// SPDX-License-Identifier: GPL-2.0

//! `HrTimer` of `rust/kernel/time/hrtimer.rs`: who has stopped the timer comes after all that its
//! callback did.
//!
//! That `raw_run()` looks at `cancelled` before the timer may go can't be told here: it is the order
//! of a load and C's store that says that the callback is over, and C11 has no such order without a
//! release, which C does not do.

use loom::{
    cell::UnsafeCell,
    sync::{
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{self, Acquire, Relaxed, Release},
        },
        Mutex,
    },
    thread,
};
use std::sync::Arc;

/// What `task` is: null is not the same before and after, so that they can be told apart.
const BEFORE: usize = 0;
const TASK: usize = 1;
const AFTER: usize = 2;

#[derive(Clone, Copy)]
struct Kernel {
    /// Of the store of null in `raw_run()`.
    end: Ordering,
    /// Of the load in `raw_try_cancel()`, `raw_cancel_running()` and `raw_active()`.
    look: Ordering,
}

const KERNEL: Kernel = Kernel { end: Release, look: Acquire };

struct Timer {
    /// C's `base->running`.
    running: AtomicBool,
    task: AtomicUsize,
    target: UnsafeCell<u32>,
}

impl Timer {
    /// C's `__run_hrtimer()`, once it has dequeued the timer, and `raw_run()`.
    fn expire(&self, kernel: Kernel) {
        self.task.store(TASK, Relaxed);
        // SAFETY: Loom checks it.
        self.target.with_mut(|target| unsafe { *target += 1 });
        self.task.store(AFTER, kernel.end);
        // After a write barrier.
        self.running.store(false, Relaxed);
    }

    /// Whether the timer is stopped.
    fn stopped(&self, kernel: Kernel) -> bool {
        // C's `hrtimer_active()`, which ends with a read barrier.
        if self.running.load(Relaxed) {
            return false;
        }
        match self.task.load(kernel.look) {
            AFTER => true,
            // What C wrote before its write barrier is seen after its read barrier.
            _ => false,
        }
    }
}

/// Stops a timer that expires, and uses what it is in.
fn stop(kernel: Kernel) {
    loom::model(move || {
        let timer = Arc::new(Timer {
            running: AtomicBool::new(true),
            task: AtomicUsize::new(BEFORE),
            target: UnsafeCell::new(0),
        });
        let expiry = {
            let timer = timer.clone();
            thread::spawn(move || timer.expire(kernel))
        };
        if timer.stopped(kernel) {
            // SAFETY: Loom checks it.
            timer.target.with_mut(|target| unsafe { *target += 1 });
        }
        expiry.join().unwrap();
    });
}

#[test]
fn stopped() {
    stop(KERNEL);
}

#[test]
#[should_panic = "Causality violation"]
fn stopped_without_release() {
    stop(Kernel { end: Relaxed, ..KERNEL });
}

#[test]
#[should_panic = "Causality violation"]
fn stopped_without_acquire() {
    stop(Kernel { look: Relaxed, ..KERNEL });
}

/// A timer that starts itself again, and is cancelled by who can't wait for it.
struct Periodic {
    /// The lock of C's base.
    base: Mutex<Base>,
    /// `Inner::lock`.
    lock: Mutex<()>,
    cancelled: AtomicBool,
}

struct Base {
    queued: bool,
    running: bool,
}

/// The callback would go on forever.
const ENOUGH: u32 = 3;

impl Periodic {
    /// C's `hrtimer_run_queues()`: the callback is called until the timer is not queued. Returns how
    /// often it was.
    fn run(&self) -> u32 {
        let mut calls = 0;
        loop {
            {
                let mut base = self.base.lock().unwrap();
                if !base.queued || calls == ENOUGH {
                    return calls;
                }
                base.queued = false;
                base.running = true;
            }
            // `raw_run()`
            let mut restart = false;
            if !self.cancelled.load(Relaxed) {
                calls += 1;
                restart = !self.cancelled.load(Acquire);
            }
            let mut base = self.base.lock().unwrap();
            if restart {
                base.queued = true;
            }
            base.running = false;
        }
    }

    /// `raw_cancel()` in a hard interrupt. Returns whether the timer is stopped.
    fn cancel(&self, marks: bool) -> bool {
        {
            let mut base = self.base.lock().unwrap();
            if !base.running {
                base.queued = false;
                return true;
            }
        }
        // `raw_cancel_later()`
        let _lock = self.lock.lock().unwrap();
        if marks {
            self.cancelled.store(true, Relaxed);
        }
        false
    }
}

fn cancel_later(marks: bool) {
    loom::model(move || {
        let timer = Arc::new(Periodic {
            base: Mutex::new(Base { queued: true, running: false }),
            lock: Mutex::new(()),
            cancelled: AtomicBool::new(false),
        });
        let interrupt = {
            let timer = timer.clone();
            thread::spawn(move || timer.cancel(marks))
        };
        timer.run();
        interrupt.join().unwrap();

        // Whoever comes after that does not call the callback, and the timer stops.
        assert_eq!(timer.run(), 0);
        assert!(!timer.base.lock().unwrap().queued);
    });
}

#[test]
fn cancelled_later() {
    cancel_later(true);
}

#[test]
#[should_panic]
fn cancelled_without_mark() {
    cancel_later(false);
}

#[test]
fn is_the_kernels() {
    let file = "rust/kernel/time/hrtimer.rs";
    crate::is_modelled(
        file,
        "unsafe fn raw_run(",
        &[
            "if cancelled.load(Relaxed)",
            "task.store(Task::current_raw(), Relaxed)",
            "let restart = f(",
            "task.store(core::ptr::null_mut(), Release)",
            "if cancelled.load(Acquire)",
        ],
    );
    let looks = "Self::raw_task(this) }.load(Acquire)";
    crate::is_modelled(file, "unsafe fn raw_try_cancel(", &["hrtimer_try_to_cancel(", looks]);
    crate::is_modelled(file, "unsafe fn raw_cancel_running(", &["hrtimer_cancel(", looks]);
    crate::is_modelled(
        file,
        "unsafe fn raw_active(",
        &["hrtimer_active(", "Self::raw_task(this).load(Acquire)"],
    );
    crate::is_modelled(
        file,
        "unsafe fn raw_cancel_later(",
        &["raw_with_expiry(", "raw_cancelled(this).store(true, Relaxed)", "hrtimer_is_queued("],
    );
}
