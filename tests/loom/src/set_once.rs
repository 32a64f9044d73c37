// SPDX-License-Identifier: GPL-2.0

//! `SetOnce` of `rust/kernel/sync/set_once.rs`: who finds a value finds all of it, initializers
//! exclude each other, and nobody waits for one that is over.

use crate::full;
use loom::{
    cell::UnsafeCell,
    sync::{
        atomic::{
            fence, AtomicBool, AtomicUsize,
            Ordering::{self, Acquire, Relaxed, Release, SeqCst},
        },
        Notify,
    },
    thread,
};
use std::sync::Arc;

const EMPTY: usize = 0;
const POPULATED: usize = 1;
const WAITED: usize = 2;

#[derive(Clone, Copy)]
struct Kernel {
    /// Of `as_ref()`.
    get: Ordering,
    /// Of `claim()`.
    claim: Ordering,
    /// Of the exchange in `populate_claimed()`: that, and whether it is `Full`.
    populate: Ordering,
    full: bool,
}

const KERNEL: Kernel = Kernel { get: Acquire, claim: Acquire, populate: Release, full: true };

struct SetOnce {
    state: AtomicUsize,
    value: UnsafeCell<u32>,
    /// C's wait queue: whether somebody is on it, and what wakes him up.
    queued: AtomicBool,
    wake: Notify,
}

impl SetOnce {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: AtomicUsize::new(EMPTY),
            value: UnsafeCell::new(0),
            queued: AtomicBool::new(false),
            wake: Notify::new(),
        })
    }

    fn get(&self, kernel: Kernel) -> Option<u32> {
        // SAFETY: Loom checks it.
        (self.state.load(kernel.get) == POPULATED)
            .then(|| self.value.with(|value| unsafe { *value }))
    }

    /// `task` is the address of a task.
    fn claim(&self, kernel: Kernel, task: usize) -> Result<(), usize> {
        self.state.compare_exchange(EMPTY, task, kernel.claim, Relaxed).map(|_| ())
    }

    /// `populate_claimed()`, with an initializer that writes a value, and then may fail.
    fn populate_claimed(&self, kernel: Kernel, fails: bool) {
        // SAFETY: Loom checks it.
        self.value.with_mut(|value| unsafe { *value = 7 });
        let state = full(kernel.full, || {
            self.state.swap(if fails { EMPTY } else { POPULATED }, kernel.populate)
        });
        if state & WAITED != 0 {
            self.wake_up_bit();
        }
    }

    fn populate(&self, kernel: Kernel, task: usize, fails: bool) {
        if self.claim(kernel, task).is_ok() {
            self.populate_claimed(kernel, fails);
        }
    }

    fn get_or_init(&self, kernel: Kernel, task: usize) -> u32 {
        loop {
            if let Some(value) = self.get(kernel) {
                return value;
            }
            let Err(state) = self.claim(kernel, task) else {
                self.populate_claimed(kernel, false);
                continue;
            };
            if state != POPULATED
                && (state & WAITED != 0
                    || (self.state.compare_exchange(state, state | WAITED, Relaxed, Relaxed))
                        .is_ok())
            {
                self.wait_on_bit();
            }
        }
    }

    /// C's `wake_up_bit()`, which looks at the queue without its lock.
    fn wake_up_bit(&self) {
        if self.queued.load(Relaxed) {
            self.wake.notify();
        }
    }

    /// C's `wait_on_bit()`, which has a barrier between getting on the queue and the look at the
    /// bit.
    fn wait_on_bit(&self) {
        loop {
            self.queued.store(true, Relaxed);
            fence(SeqCst);
            if self.state.load(Relaxed) & WAITED == 0 {
                break;
            }
            self.wake.wait();
        }
        self.queued.store(false, Relaxed);
    }
}

/// One populates it, and another one looks.
fn look(kernel: Kernel) {
    loom::model(move || {
        let once = SetOnce::new();
        let other = {
            let once = once.clone();
            thread::spawn(move || once.populate(kernel, 4, false))
        };
        assert!(once.get(kernel).is_none_or(|value| value == 7));
        other.join().unwrap();
    });
}

#[test]
fn got() {
    look(KERNEL);
}

#[test]
#[should_panic = "Causality violation"]
fn got_without_acquire() {
    look(Kernel { get: Relaxed, ..KERNEL });
}

#[test]
#[should_panic = "Causality violation"]
fn got_without_release() {
    look(Kernel { populate: Relaxed, full: false, ..KERNEL });
}

/// An initializer fails, and another one follows.
fn fail(kernel: Kernel) {
    loom::model(move || {
        let once = SetOnce::new();
        let other = {
            let once = once.clone();
            thread::spawn(move || once.populate(kernel, 4, true))
        };
        once.populate(kernel, 8, false);
        other.join().unwrap();
    });
}

#[test]
fn failed() {
    fail(KERNEL);
}

#[test]
#[should_panic = "Causality violation"]
fn failed_without_acquire() {
    fail(Kernel { claim: Relaxed, ..KERNEL });
}

/// One waits for another, which may fail.
fn wait(kernel: Kernel, fails: bool) {
    loom::model(move || {
        let once = SetOnce::new();
        let other = {
            let once = once.clone();
            thread::spawn(move || once.populate(kernel, 4, fails))
        };
        assert_eq!(once.get_or_init(kernel, 8), 7);
        other.join().unwrap();
    });
}

#[test]
fn waited() {
    wait(KERNEL, false);
    wait(KERNEL, true);
}

#[test]
#[should_panic = "deadlock"]
fn waited_without_full() {
    wait(Kernel { full: false, ..KERNEL }, false);
}

#[test]
fn is_the_kernels() {
    let file = "rust/kernel/sync/set_once.rs";
    crate::is_modelled(file, "pub fn as_ref(&self)", &["self.state.load(Acquire) == POPULATED"]);
    crate::is_modelled(
        file,
        "fn claim(&self)",
        &[".cmpxchg(EMPTY, Task::current_raw().addr(), Acquire)"],
    );
    crate::is_modelled(
        file,
        "fn claim_or_wait(&self)",
        &[
            "self.as_ref()",
            "self.claim()",
            "cmpxchg(state, state | WAITED, Relaxed)",
            "out_of_line_wait_on_bit(",
        ],
    );
    crate::is_modelled(
        file,
        "unsafe fn populate_claimed<E>(",
        &["raw_try_init(", "self.state.xchg(", "Full,", "wake_up_bit("],
    );
}
