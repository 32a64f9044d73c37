// SPDX-License-Identifier: GPL-2.0

//! KUnit test of what lockdep sees of DMA fences.

use super::*;
use crate::{
    macros::kunit_tests,
    new_mutex,
    sync::{
        Arc,
        Mutex, //
    },
};

/// Whether lockdep has had no complaint so far.
fn lockdep_is_silent() -> bool {
    // SAFETY: `debug_locks` is a C `int` that is always there, and read without a lock in C too.
    unsafe { (&raw const bindings::debug_locks).read_volatile() != 0 }
}

#[kunit_tests(rust_dma_fence_lockdep)]
mod suite {
    use super::*;

    /// A thread waits for a fence with a lock held, another needs the lock to signal it.
    #[test]
    fn lock_held_by_waiter() -> Result {
        let lock = Arc::pin_init(new_mutex!((), "rust_dma_fence_lockdep"), GFP_KERNEL)?;

        assert!(lockdep_is_silent());

        // Fine by itself, nested or not, and so is to signal a fence in it.
        signalling(|_| signalling(|_| drop(lock.lock())));
        assert!(lockdep_is_silent());

        let guard = lock.lock();
        let waited = DmaFence::stub().wait();
        drop(guard);

        assert!(waited.is_ok());
        assert!(!lockdep_is_silent());

        Ok(())
    }
}
