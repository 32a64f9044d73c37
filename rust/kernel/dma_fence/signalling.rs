// SPDX-License-Identifier: GPL-2.0

//! The scope of what fences wait for.

use crate::bindings;

/// Runs `f`, and marks it for lockdep as code that a fence needs to be signaled. Wraps
/// `dma_fence_begin_signalling()` and `dma_fence_end_signalling()`.
///
/// It is for all code that has to run between the time when a fence is published and that when it
/// is signaled: the tail of a job's submission, the interrupt or the work item that signals it,
/// the handling of timeouts. Such code must not depend on what may wait for fences, so it must not
/// - take a lock with which others wait for fences, like that of a reservation object,
/// - allocate memory, other than with [`GFP_ATOMIC`] or [`GFP_NOWAIT`], as reclaim waits for
///   fences.
///
/// With `PROVE_LOCKING`, lockdep reports it if `f` does so. Without `LOCKDEP`, this costs the calls
/// of two empty helpers, or nothing with `RUST_INLINE_HELPERS`. Scopes may be nested.
///
/// The scope is that of a thread. A fence that is signaled by another thread needs another one
/// there.
///
/// # Context
///
/// Any. In atomic context, where sleeping is detected anyway, this does nothing.
///
/// # Examples
///
/// ```
/// use kernel::dma_fence::signalling;
/// # use kernel::dma_fence::{DmaFenceCtx, DmaFenceNames, UnarmedDmaFence};
///
/// # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
/// let unarmed = UnarmedDmaFence::new(GFP_KERNEL)?;
///
/// signalling(|| {
///     let fence = ctx.arm(unarmed);
///     // Publish the fence and run the job.
///     fence.signal(Ok(()));
/// });
/// # Ok::<(), Error>(())
/// ```
///
/// [`GFP_ATOMIC`]: crate::alloc::flags::GFP_ATOMIC
/// [`GFP_NOWAIT`]: crate::alloc::flags::GFP_NOWAIT
#[inline]
pub fn signalling<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: The scope is ended below, by the same thread. As scopes are closures, and panics
    // don't unwind, those that are begun later are ended before.
    let cookie = unsafe { bindings::dma_fence_begin_signalling() };

    let ret = f();

    // SAFETY: The cookie is that of the latest scope that has not been ended.
    unsafe { bindings::dma_fence_end_signalling(cookie) };

    ret
}
