// SPDX-License-Identifier: GPL-2.0

//! DMA fences.
//!
//! A DMA fence stands for the end of some asynchronous work, usually a hardware job, and lets
//! other drivers and user space wait for it. It is signaled once and stays signaled.
//!
//! C header: [`include/linux/dma-fence.h`](srctree/include/linux/dma-fence.h)
//!
//! # Vocabulary
//!
//! - [`DmaFence`] is the shared view: a fence of any driver, reference counted, which can be
//!   queried and waited for, but not signaled.
//! - [`DriverDmaFence`] is the owning view: it exists once for each fence that a Rust driver
//!   emits, and alone can signal it, and reach the data that the driver keeps with it.
//! - [`UnarmedDmaFence`] is the memory of a fence to come, and that data. Allocating it may fail
//!   and may sleep; arming it does neither, so that nothing can fail once a job has been committed.
//! - [`DmaFenceCtx`] is a timeline: a context number and the sequence numbers of its fences.
//! - [`DmaFenceNames`] are the names of a driver and of a timeline that others see.
//! - [`UnarmedDmaFenceCb`] is the memory of a callback, and its data. Allocating it may fail;
//!   registering it on a fence needs no memory.
//! - [`DmaFenceCb`] is a callback that is registered on a fence. The ready-made ones, for a
//!   [`Completion`](crate::sync::Completion), a task and a work item, need no `unsafe` in the
//!   driver; the driver's own function is an `unsafe` implementation of [`DmaFenceCbFunc`].
//! - [`signalling()`] is the scope of code that fences need to be signaled; lockdep checks it.
//! - An *array* is a fence that is signaled when several others are, and a *chain* one that is
//!   signaled when a fence and those before it are; both are *containers*. See
//!   [`DmaFence::new_array`], [`UnarmedChainNode`] and, for what they are made of,
//!   [`DmaFence::unwrap_iter`].
//! - A *stub* is a fence that is signaled from the start; see [`DmaFence::stub`].
//! - A *sync file* is a file of user space that holds a fence; see `SyncFile`, which needs
//!   `CONFIG_SYNC_FILE`.
//!
//! # The life of a fence
//!
//! ```text
//!  UnarmedDmaFence::new(), with_data()
//!          │
//!          ▼            DmaFenceCtx::arm()
//!   ┌─────────────┐                          ┌─────────────┐
//!   │   unarmed   ├─────────────────────────►│    armed    │◄─┐ UnarmedDmaFenceCb
//!   └──────┬──────┘                          └──────┬──────┘──┘ ::register()
//!          │ drop                                   │ DriverDmaFence::signal(),
//!          ▼                                        │ or its drop: ECANCELED
//!       (freed)                                     ▼
//!                                            ┌─────────────┐
//!                                            │  signaled   │ callbacks run, names detach,
//!                                            └──────┬──────┘ then the driver's data is dropped
//!                                                   │ last ARef<DmaFence> is dropped
//!                                                   ▼
//!                                        (freed after a grace period)
//! ```
//!
//! # Modules and leaks
//!
//! The operations of a fence that a Rust driver emits live in the kernel crate, and they reach
//! nothing but the names, which each unsignaled fence keeps alive. So a fence may outlive the
//! module that emitted it, signaled or, if its [`DriverDmaFence`] was leaked, unsignaled.
//!
//! A leaked [`DmaFenceCb`] that completes a [`Completion`](crate::sync::Completion) or wakes a task
//! does no harm, also after the module was unloaded: its function is in the kernel crate. The same
//! goes for a [`QueueWork`] if its queue is dropped before the module of its item is unloaded. It
//! does nothing then, and dropping the queue waits for the items. (A queue whose last owner is the
//! leaked item itself is never dropped.) No other callback may be leaked by a module that can be
//! unloaded, nor be in one of its statics, which are never dropped.
//!
//! # Context
//!
//! Querying a fence may signal it, which runs its callbacks. So hold no lock that these take, and
//! in a callback query no fence, not even another one; its numbers are fine.
//!
//! "Any" context, here and in the items of this module, means process context and interrupts, but
//! not NMI. With `PREEMPT_RT`, the lock of a fence sleeps, and memory can't be freed in hard
//! interrupts. So nothing that takes that lock or drops a last reference can be used there.
//!
//! What a drop may do:
//! - A [`DriverDmaFence`] signals the fence, and drops the driver's data.
//! - A [`DmaFenceCb`] takes the fence's lock, waits for a callback that runs, and drops its data.
//! - An [`ARef<DmaFence>`](ARef) frees the fence if it is the last, which never sleeps. An array or
//!   a chain drops the fences in it.
//! - None of them takes the lock of a reservation object. Dropping a GEM object may.
//!
//! # Errors of containers
//!
//! A chain never has an error, an array that nobody waited for may lack that of its fences, and
//! what [`DmaFence::merge`] makes does not have those of fences that were signaled before. To know
//! how the work behind a container ended, look at all that [`DmaFence::unwrap_iter`] finds in it.
//!
//! # Examples
//!
//! ```
//! use kernel::dma_fence::{
//!     DmaFence,
//!     DmaFenceCtx,
//!     DmaFenceNames,
//!     UnarmedDmaFence, //
//! };
//! use kernel::sync::aref::ARef;
//!
//! // Once for each timeline.
//! let names = DmaFenceNames::new(c"example", c"ring0")?;
//! let mut ctx = DmaFenceCtx::new(names);
//!
//! // Once for each job. All that can fail comes first.
//! let unarmed = UnarmedDmaFence::new(GFP_KERNEL)?;
//! let fence = ctx.arm(unarmed);
//!
//! // What others get.
//! let shared: ARef<DmaFence> = ARef::from(&*fence);
//! assert!(shared.status().is_none());
//!
//! // The job has ended.
//! fence.signal(Ok(()));
//! assert!(matches!(shared.status(), Some(Ok(()))));
//! # Ok::<(), Error>(())
//! ```

use crate::{
    bindings,
    error::to_result,
    fmt,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            Acquire,
            Atomic, //
        },
        rcu, //
    },
    time::{
        Instant,
        Monotonic, //
    },
    types::Opaque, //
};
use core::ptr::NonNull;

mod array;

mod cb;
pub use self::cb::{
    AlreadySignaled,
    DmaFenceCb,
    DmaFenceCbFunc,
    QueueWork,
    UnarmedDmaFenceCb, //
};

mod chain;
pub use self::chain::{
    InvalidChain,
    UnarmedChainNode, //
};

mod ctx;
pub use self::ctx::{
    DmaFenceCtx,
    DmaFenceNames,
    DriverDmaFence,
    DriverDmaFenceRef,
    UnarmedDmaFence, //
};

mod signalling;
pub use self::signalling::signalling;

#[cfg(CONFIG_SYNC_FILE)]
mod sync_file;
#[cfg(CONFIG_SYNC_FILE)]
pub use self::sync_file::SyncFile;

mod unwrap;
pub use self::unwrap::Unwrap;

pub(crate) mod wait;
pub use self::wait::WaitError;

#[cfg(CONFIG_RUST_DMA_FENCE_KUNIT_TEST)]
mod tests;
#[cfg(CONFIG_RUST_DMA_FENCE_KUNIT_TEST)]
mod tests_race;
#[cfg(CONFIG_RUST_DMA_FENCE_KUNIT_TEST)]
mod tests_st_chain;
#[cfg(CONFIG_RUST_DMA_FENCE_KUNIT_TEST)]
mod tests_st_fence;
#[cfg(CONFIG_RUST_DMA_FENCE_KUNIT_TEST)]
mod tests_st_unwrap;

/// A DMA fence of any driver.
///
/// This is the view of a fence that everyone may have; see the [module documentation] for the
/// others.
///
/// # Context
///
/// References may be dropped in any context. The last one frees the fence, and an array or a chain
/// drops those in it. It does not sleep.
///
/// # Invariants
///
/// `self.inner` is an initialized `struct dma_fence` with a non-zero reference count.
///
/// [module documentation]: self
#[repr(transparent)]
pub struct DmaFence {
    inner: Opaque<bindings::dma_fence>,
}

// SAFETY: The functions of C that `DmaFence` calls may be called by any thread: they take the
// fence's lock, are atomic, rely on RCU, or read what was written before the fence was published.
// The last reference may be dropped by any thread, too.
unsafe impl Send for DmaFence {}

// SAFETY: As for `Send`.
unsafe impl Sync for DmaFence {}

// SAFETY: `dma_fence_get()` and `dma_fence_put()` maintain the reference count of the
// `struct dma_fence`, which is not freed while it is non-zero.
unsafe impl AlwaysRefCounted for DmaFence {
    #[inline]
    fn inc_ref(&self) {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence.
        unsafe { bindings::dma_fence_get(self.as_raw()) };
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // CAST: `DmaFence` is a transparent wrapper of `struct dma_fence`.
        // SAFETY: By the safety requirements, `obj` is valid, and the caller gives up a reference.
        unsafe { bindings::dma_fence_put(obj.cast().as_ptr()) };
    }
}

impl DmaFence {
    /// The most fences that can be merged, or be in an array.
    pub const MAX_FENCES: usize = 1 << 16;

    /// Borrows the fence behind a raw pointer.
    ///
    /// # Safety
    ///
    /// `ptr` must point to an initialized `struct dma_fence` to which a reference is held for all
    /// of `'a`.
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::dma_fence) -> &'a Self {
        // CAST: `DmaFence` is a transparent wrapper of `struct dma_fence`.
        // SAFETY: By the safety requirements, `ptr` is valid for `'a`.
        unsafe { &*ptr.cast() }
    }

    /// Returns the raw pointer to the `struct dma_fence`.
    #[inline]
    pub fn as_raw(&self) -> *mut bindings::dma_fence {
        self.inner.get()
    }

    /// Returns a fence that has been signaled since the kernel was booted, the same each time, for
    /// where there is nothing to wait for. Wraps `dma_fence_get_stub()`.
    ///
    /// # Context
    ///
    /// Any.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::dma_fence::DmaFence;
    ///
    /// assert!(DmaFence::stub().is_signaled());
    /// ```
    #[inline]
    pub fn stub() -> ARef<Self> {
        // SAFETY: C initializes the stub before any module. It returns a reference to it, which the
        // `ARef` takes over, and never null.
        unsafe { ARef::from_raw(NonNull::new_unchecked(bindings::dma_fence_get_stub()).cast()) }
    }

    /// Returns the number of the fence's context, `dma_fence.context`.
    ///
    /// # Context
    ///
    /// Any.
    #[inline]
    pub fn context(&self) -> u64 {
        // SAFETY: By the type invariant, the fence is valid. Emitters write `context` before they
        // publish a fence, so nobody writes it now.
        unsafe { (*self.as_raw()).context }
    }

    /// Returns the fence's sequence number in its context, `dma_fence.seqno`.
    ///
    /// # Context
    ///
    /// Any.
    #[inline]
    pub fn seqno(&self) -> u64 {
        // SAFETY: As in `context()`.
        unsafe { (*self.as_raw()).seqno }
    }

    /// Returns whether the fence is signaled; a cheap hint. Wraps `dma_fence_is_signaled()`.
    ///
    /// Where the emitter can look at its hardware, this may find out that the fence is done and
    /// signal it. When this returns `true`, callbacks may not have run yet.
    ///
    /// # Context
    ///
    /// Any, but not a callback of a fence, nor with a lock held that a callback of this one takes.
    #[inline]
    pub fn is_signaled(&self) -> bool {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence.
        unsafe { bindings::dma_fence_is_signaled(self.as_raw()) }
    }

    /// Returns the status that the fence was signaled with, or [`None`] while it is not signaled.
    /// Wraps `dma_fence_get_status()`.
    ///
    /// Takes the fence's lock. So if this returns [`Some`] for a fence of a Rust driver, or one
    /// that `dma_fence_signal()` signaled, its callbacks have run. Some drivers, e.g. i915, mark a
    /// fence as signaled before they take the lock to run its callbacks, and may set the error
    /// later than that.
    ///
    /// # Context
    ///
    /// As for [`is_signaled`](Self::is_signaled).
    #[inline]
    pub fn status(&self) -> Option<Result> {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence. If its lock is an
        // external one, its issuer has to keep that for as long as the fence, see
        // `dma_fence_init()`.
        match unsafe { bindings::dma_fence_get_status(self.as_raw()) } {
            0 => None,
            status => Some(to_result(status)),
        }
    }

    /// Returns whether the fence is made of other fences, i.e. an array or a chain. Wraps
    /// `dma_fence_is_container()`.
    ///
    /// # Context
    ///
    /// Any.
    #[inline]
    pub fn is_container(&self) -> bool {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence.
        unsafe { bindings::dma_fence_is_container(self.as_raw()) }
    }

    /// Returns when the fence was signaled, or [`None`] while there is no such time. Wraps
    /// `dma_fence_timestamp()`, but does not wait for a time that is still to be written.
    ///
    /// This is the time that the emitter gave, where it knows better than the clock. A time before
    /// the clock's start becomes the start.
    ///
    /// A fence of a Rust driver has the time if [`status`](Self::status) is [`Some`]. Some drivers,
    /// e.g. i915, write it later.
    ///
    /// # Context
    ///
    /// As for [`is_signaled`](Self::is_signaled).
    #[inline]
    pub fn timestamp(&self) -> Option<Instant<Monotonic>> {
        const BITS: usize = 1 << bindings::dma_fence_flag_bits_DMA_FENCE_FLAG_SIGNALED_BIT
            | 1 << bindings::dma_fence_flag_bits_DMA_FENCE_FLAG_TIMESTAMP_BIT;

        let _ = self.status()?;

        // SAFETY: By the type invariant, the fence is valid. C uses atomic operations on the flags.
        let flags = unsafe { Atomic::<usize>::from_ptr(&raw mut (*self.as_raw()).flags) };
        if flags.load(Acquire) & BITS != BITS {
            return None;
        }

        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence. Both flags are set, so
        // that C does not spin.
        let ktime = unsafe { bindings::dma_fence_timestamp(self.as_raw()) };

        // SAFETY: A `ktime_t` that is not negative is in the range that `Instant` has.
        Some(unsafe { Instant::from_ktime(ktime.max(0)) })
    }

    /// Returns whether the fence comes after `other` on the timeline of both, or [`None`] if they
    /// are on no common one. Wraps `dma_fence_is_later()`.
    ///
    /// A fence is not later than itself. Context 0 is no timeline: it is for fences with no order.
    ///
    /// # Context
    ///
    /// Any.
    #[inline]
    pub fn is_later_than(&self, other: &DmaFence) -> Option<bool> {
        if self.context() != other.context() || self.context() == 0 {
            return None;
        }

        // SAFETY: By the type invariant, both are valid fences. They have the same context.
        Some(unsafe { bindings::dma_fence_is_later(self.as_raw(), other.as_raw()) })
    }

    /// Returns the name of the driver that emitted the fence, or `detached-driver` once it is
    /// signaled. Wraps `dma_fence_driver_name()`.
    ///
    /// Others may free the name when the fence is signaled and a grace period has passed, so it
    /// can be used only for as long as both the fence and the RCU guard are there.
    ///
    /// # Context
    ///
    /// Any.
    #[inline]
    pub fn driver_name<'a>(&'a self, _rcu: &'a rcu::Guard) -> &'a CStr {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence. The guard shows that
        // this is in an RCU read-side critical section, which goes on for all of `'a`. C has the
        // name stay there and unchanged for as long.
        unsafe { CStr::from_char_ptr(bindings::dma_fence_driver_name(self.as_raw())) }
    }

    /// Returns the name of the timeline that the fence is on, or `signaled-timeline` once it is
    /// signaled. Wraps `dma_fence_timeline_name()`.
    ///
    /// See [`driver_name`](Self::driver_name) for how long it can be used.
    ///
    /// # Context
    ///
    /// Any.
    #[inline]
    pub fn timeline_name<'a>(&'a self, _rcu: &'a rcu::Guard) -> &'a CStr {
        // SAFETY: As in `driver_name()`.
        unsafe { CStr::from_char_ptr(bindings::dma_fence_timeline_name(self.as_raw())) }
    }
}

/// Shows the context and the sequence number, both in hexadecimal, as 32-bit machines lack what
/// decimal takes, and whether the fence was found to be signaled so far.
///
/// Takes no lock and queries no driver, so that it may be used in any context, callbacks included.
/// It leaves out the names, as the formatter may sleep and RCU does not allow that.
impl fmt::Debug for DmaFence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence.
        let signaled = unsafe { bindings::dma_fence_test_signaled_flag(self.as_raw()) };

        f.debug_struct("DmaFence")
            .field("context", &format_args!("{:#x}", self.context()))
            .field("seqno", &format_args!("{:#x}", self.seqno()))
            .field("signaled", &signaled)
            .finish()
    }
}
