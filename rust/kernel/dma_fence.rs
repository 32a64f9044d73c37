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
//!   emits, and alone can signal it.
//! - [`UnarmedDmaFence`] is the memory of a fence to come. Allocating it may fail and may sleep;
//!   arming it does neither, so that nothing can fail once a job has been committed.
//! - [`DmaFenceCtx`] is a timeline: a context number and the sequence numbers of its fences.
//! - [`DmaFenceNames`] are the names of a driver and of a timeline that others see.
//! - [`DmaFenceCb`] is a callback that is registered on a fence.
//!
//! # The life of a fence
//!
//! ```text
//!  UnarmedDmaFence::new()
//!          │
//!          ▼            DmaFenceCtx::arm()
//!   ┌─────────────┐                          ┌─────────────┐
//!   │   unarmed   ├─────────────────────────►│    armed    │◄─┐ DmaFenceCb::new()
//!   └──────┬──────┘                          └──────┬──────┘──┘
//!          │ drop                                   │ DriverDmaFence::signal(), or drop of
//!          ▼                                        │ the DriverDmaFence: ECANCELED
//!       (freed)                                     ▼
//!                                            ┌─────────────┐
//!                                            │  signalled  │ callbacks run, names detach
//!                                            └──────┬──────┘
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
//! A [`DmaFenceCb`] does call into the module that registered it. As with a timer or a work item, a
//! module that leaks one must not be unloaded before the fence is signalled.
//!
//! # Context
//!
//! "Any context" below means process context and interrupts, but not NMI. With `PREEMPT_RT` the
//! lock of a fence sleeps, so what takes it can't be used in hard interrupt context there.
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
    prelude::*,
    sync::aref::AlwaysRefCounted,
    types::Opaque, //
};
use core::ptr::NonNull;

mod cb;
pub use self::cb::{
    AlreadySignaled,
    DmaFenceCb,
    DmaFenceCbFunc, //
};

mod ctx;
pub use self::ctx::{
    DmaFenceCtx,
    DmaFenceNames,
    DriverDmaFence,
    UnarmedDmaFence, //
};

#[cfg(CONFIG_RUST_DMA_FENCE_KUNIT_TEST)]
mod tests;

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
}
