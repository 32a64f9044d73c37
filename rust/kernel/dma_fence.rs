// SPDX-License-Identifier: GPL-2.0

//! DMA fences.
//!
//! A DMA fence stands for the end of some asynchronous work, usually a hardware job, and lets
//! other drivers and user space wait for it. It is signalled once and stays signalled.
//!
//! C header: [`include/linux/dma-fence.h`](srctree/include/linux/dma-fence.h)
//!
//! # Vocabulary
//!
//! - [`DmaFence`] is the shared view: a fence of any driver, reference counted, which can be
//!   asked and waited for, but not signalled.
//! - [`DriverDmaFence`] is the owning view: it exists once for each fence that a Rust driver
//!   emits, and alone can signal it, and reach the data that the driver keeps with it.
//! - [`UnarmedDmaFence`] is the memory of a fence to come, and that data. Allocating it may fail
//!   and may sleep; arming it does neither, so that nothing can fail once a job has been committed.
//! - [`DmaFenceCtx`] is a timeline: a context number and the sequence numbers of its fences.
//! - [`DmaFenceNames`] are the names of a driver and of a timeline that others see.
//! - [`DmaFenceCb`] is a callback that is registered on a fence.
//! - [`signalling()`] is the scope of code that fences need to be signalled; lockdep checks it.
//! - An *array* is a fence that is signalled when several others are, and a *chain* one that is
//!   signalled when a fence and those before it are; both are *containers*. See
//!   [`DmaFence::new_array`], [`UnarmedChainNode`] and, for what they are made of,
//!   [`DmaFence::unwrap_iter`].
//! - A *stub* is a fence that is signalled from the start; see [`DmaFence::stub`].
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
//!   │   unarmed   ├─────────────────────────►│    armed    │◄─┐ DmaFenceCb::new()
//!   └──────┬──────┘                          └──────┬──────┘──┘
//!          │ drop                                   │ DriverDmaFence::signal(), signal_at(),
//!          ▼                                        │ or its drop: ECANCELED
//!       (freed)                                     ▼
//!                                            ┌─────────────┐
//!                                            │  signalled  │ callbacks run, names detach,
//!                                            └──────┬──────┘ then the driver's data is dropped
//!                                                   │ last ARef<DmaFence> is dropped
//!                                                   ▼
//!                                        (freed after a grace period)
//! ```
//!
//! # Modules and leaks
//!
//! The operations of a fence that a Rust driver emits live in the kernel crate, and they reach
//! nothing but the names, which each unsignalled fence keeps alive. So a fence may outlive the
//! module that emitted it, signalled or, if its [`DriverDmaFence`] was leaked, unsignalled.
//!
//! What a [`DmaFenceCb`] does is in the kernel crate, too, unless it calls a function of the
//! driver's own, so it does no harm to leak one and unload the module. What a [`QueueWork`]
//! enqueues is in a module, as any work item is, and that must not be unloaded before the item has
//! run.
//!
//! # Context
//!
//! What asks a fence for its state may signal it, which runs its callbacks. So hold no lock that
//! these take, and from a callback ask no fence, not even another one, for more than its numbers.
//!
//! "Any context" below means process context and interrupts, but not NMI. With `PREEMPT_RT` the
//! lock of a fence sleeps, so what takes it can't be used in hard interrupt context there.
//!
//! # Errors of containers
//!
//! A chain never has an error, an array that nobody waited for may lack that of its fences, and
//! what [`DmaFence::merge`] makes does not have those of fences that were signalled before. To know
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
    seq_file::SeqFile,
    sync::{
        aref::AlwaysRefCounted,
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
    QueueWork, //
};

mod chain;
pub use self::chain::{
    ChainNodes,
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
pub use self::signalling::{
    signalling,
    Signalling, //
};

mod stub;

#[cfg(CONFIG_SYNC_FILE)]
mod sync_file;
#[cfg(CONFIG_SYNC_FILE)]
pub use self::sync_file::SyncFile;

mod unwrap;
pub use self::unwrap::Unwrap;

pub(crate) mod wait;
pub use self::wait::{
    AnySignaled,
    WaitError, //
};

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
/// # Invariants
///
/// `self.inner` is an initialised `struct dma_fence` with a non-zero reference count.
///
/// [module documentation]: self
#[repr(transparent)]
pub struct DmaFence {
    inner: Opaque<bindings::dma_fence>,
}

// SAFETY: `struct dma_fence` is made to be shared among drivers: every operation on it that
// `DmaFence` offers takes the fence's lock or is atomic, and its last reference may be dropped in
// any context.
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
        // SAFETY: `DmaFence` is a transparent wrapper of `struct dma_fence`, and the caller gives
        // up a reference of it.
        unsafe { bindings::dma_fence_put(obj.cast().as_ptr()) };
    }
}

impl DmaFence {
    /// The most fences that can be waited for or merged at once.
    pub const MAX_FENCES: usize = 1 << 16;

    /// Borrows the fence behind a raw pointer.
    ///
    /// # Safety
    ///
    /// `ptr` must point to an initialised `struct dma_fence` to which a reference is held for all
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

    /// Returns the number of the fence's context, `dma_fence.context`.
    ///
    /// May be called in any context.
    #[inline]
    pub fn context(&self) -> u64 {
        // SAFETY: By the type invariant, the fence is initialised; `context` never changes.
        unsafe { (*self.as_raw()).context }
    }

    /// Returns the fence's sequence number in its context, `dma_fence.seqno`.
    ///
    /// May be called in any context.
    #[inline]
    pub fn seqno(&self) -> u64 {
        // SAFETY: By the type invariant, the fence is initialised; `seqno` never changes.
        unsafe { (*self.as_raw()).seqno }
    }

    /// Returns whether the fence is signalled; a cheap hint.
    ///
    /// Where the emitter can look at its hardware, this may find out that the fence is done and
    /// signal it. When this returns `true`, callbacks may not have run yet; use
    /// [`status`](Self::status) where that matters.
    ///
    /// May be called in any context, but not with the fence's lock held, i.e. not from a callback
    /// of the same fence. C: `dma_fence_is_signaled()`.
    #[inline]
    pub fn is_signaled(&self) -> bool {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence.
        unsafe { bindings::dma_fence_is_signaled(self.as_raw()) }
    }

    /// Returns how the fence ended, or [`None`] while it is not signalled.
    ///
    /// Takes the fence's lock: when this returns [`Some`], the callbacks have run.
    ///
    /// May be called in any context, but not from a callback of the same fence. C:
    /// `dma_fence_get_status()`.
    #[inline]
    pub fn status(&self) -> Option<Result> {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence.
        match unsafe { bindings::dma_fence_get_status(self.as_raw()) } {
            0 => None,
            status => Some(to_result(status)),
        }
    }

    /// Returns whether the fence is made of other fences, i.e. an array or a chain.
    ///
    /// May be called in any context. C: `dma_fence_is_container()`.
    #[inline]
    pub fn is_container(&self) -> bool {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence.
        unsafe { bindings::dma_fence_is_container(self.as_raw()) }
    }

    /// Returns when the fence was signalled, or [`None`] while it is not.
    ///
    /// This is the time that the emitter gave, where it knows better than the clock. A time before
    /// the clock's start is taken for the start.
    ///
    /// Takes the fence's lock, like [`status`](Self::status), rather than spin until the thread
    /// that signals the fence has written the time.
    ///
    /// May be called in any context, but not from a callback of the same fence. C:
    /// `dma_fence_timestamp()`.
    #[inline]
    pub fn timestamp(&self) -> Option<Instant<Monotonic>> {
        // The fence is signalled and gets its timestamp under one hold of its lock, which this
        // takes too.
        let _ = self.status()?;

        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence. It is signalled.
        let ktime = unsafe { bindings::dma_fence_timestamp(self.as_raw()) };

        // SAFETY: A `ktime_t` that is not negative is in the range that `Instant` has.
        Some(unsafe { Instant::from_ktime(ktime.max(0)) })
    }

    /// Returns whether the fence comes after `other` on the timeline of both, or [`None`] if they
    /// are on different ones.
    ///
    /// A fence is not later than itself.
    ///
    /// May be called in any context. C: `dma_fence_is_later()`.
    #[inline]
    pub fn is_later_than(&self, other: &DmaFence) -> Option<bool> {
        if self.context() != other.context() {
            return None;
        }

        // SAFETY: By the type invariant, both are valid fences. They have the same context.
        Some(unsafe { bindings::dma_fence_is_later(self.as_raw(), other.as_raw()) })
    }

    /// Returns the later one of two fences on a timeline, which is the one to wait for, or [`None`]
    /// if they are on different ones.
    ///
    /// May be called in any context. C: `dma_fence_later()`, but that has none to wait for if it is
    /// signalled.
    #[inline]
    pub fn later<'a>(&'a self, other: &'a DmaFence) -> Option<&'a DmaFence> {
        let later = self.is_later_than(other)?;

        Some(if later { self } else { other })
    }

    /// Asks the emitter to signal the fence as soon as it can.
    ///
    /// Some drivers have no interrupt for a fence, and so don't notice that it is done, before
    /// somebody wants to know. Callbacks and waits ask for it by themselves, so it is for who polls
    /// with [`is_signaled`](Self::is_signaled). The fence may be signalled when this returns.
    ///
    /// May be called in any context, but not from a callback of the same fence. C:
    /// `dma_fence_enable_signaling()`.
    #[inline]
    pub fn enable_signaling(&self) {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence.
        unsafe { bindings::dma_fence_enable_signaling(self.as_raw()) };
    }

    /// Tells the emitter until when it is hoped that the fence will be signalled.
    ///
    /// It is a hint, e.g. to run the hardware faster. A time that has passed means that somebody
    /// needs the fence now. Of several deadlines, the earliest counts.
    ///
    /// May be called in any context, but not with a lock held that a callback of the fence takes,
    /// as it may be found to be signalled. C: `dma_fence_set_deadline()`.
    #[inline]
    pub fn set_deadline(&self, deadline: Instant<Monotonic>) {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence.
        unsafe { bindings::dma_fence_set_deadline(self.as_raw(), deadline.as_nanos()) };
    }

    /// Returns the name of the driver that emitted the fence, or `detached-driver` once it is
    /// signalled.
    ///
    /// Others may free the name when the fence is signalled and a grace period has passed, so it
    /// can be used only for as long as both the fence and the RCU guard are there.
    ///
    /// May be called in any context. C: `dma_fence_driver_name()`.
    #[inline]
    pub fn driver_name<'a>(&'a self, _rcu: &'a rcu::Guard) -> &'a CStr {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence. The guard shows that
        // this is in an RCU read-side critical section, which goes on for all of `'a`. C has the
        // name stay there and unchanged for as long.
        unsafe { CStr::from_char_ptr(bindings::dma_fence_driver_name(self.as_raw())) }
    }

    /// Returns the name of the timeline that the fence is on, or `signaled-timeline` once it is
    /// signalled.
    ///
    /// See [`driver_name`](Self::driver_name) for how long it can be used.
    ///
    /// May be called in any context. C: `dma_fence_timeline_name()`.
    #[inline]
    pub fn timeline_name<'a>(&'a self, _rcu: &'a rcu::Guard) -> &'a CStr {
        // SAFETY: As in `driver_name()`.
        unsafe { CStr::from_char_ptr(bindings::dma_fence_timeline_name(self.as_raw())) }
    }

    /// Writes a line with the fence's numbers, its names, and whether it is signalled to a file, as
    /// in debugfs.
    ///
    /// May be called in any context, but not from a callback of the same fence. C:
    /// `dma_fence_describe()`.
    #[inline]
    pub fn describe(&self, m: &SeqFile) {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence; `m` is a valid file.
        unsafe { bindings::dma_fence_describe(self.as_raw(), m.as_raw()) };
    }
}

/// Shows the context, the sequence number, and whether the fence was found to be signalled so far.
///
/// Takes no lock and asks no driver, so that it may be used in any context, callbacks included. It
/// leaves out the names, as the formatter may sleep and RCU does not let it.
impl fmt::Debug for DmaFence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence.
        let signaled = unsafe { bindings::dma_fence_test_signaled_flag(self.as_raw()) };

        f.debug_struct("DmaFence")
            .field("context", &Number(self.context()))
            .field("seqno", &Number(self.seqno()))
            .field("signaled", &signaled)
            .finish()
    }
}

/// Shows a number of a fence in decimal, as C does.
///
/// On 32-bit machines `core` can't: it would divide by an intrinsic that the kernel does not have.
struct Number(u64);

impl fmt::Debug for Number {
    #[cfg(CONFIG_64BIT)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }

    #[cfg(not(CONFIG_64BIT))]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BILLION: u64 = 1_000_000_000;

        if let Ok(number) = u32::try_from(self.0) {
            return fmt::Debug::fmt(&number, f);
        }

        // SAFETY: `div64_u64()` takes any numbers but a divisor of 0.
        let billions = unsafe { bindings::div64_u64(self.0, BILLION) };

        fmt::Debug::fmt(&Self(billions), f)?;
        // CAST: The remainder has less than 32 bits.
        write!(f, "{:09}", (self.0 - billions * BILLION) as u32)
    }
}
