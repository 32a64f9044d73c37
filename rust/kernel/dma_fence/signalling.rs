// SPDX-License-Identifier: GPL-2.0

//! The scope of what fences wait for.

use crate::{
    bindings,
    types::NotThreadSafe, //
};

/// Shows that the thread is in the scope of [`signalling`].
///
/// Functions that are part of how a fence gets signaled can take a reference to one, so that they
/// aren't called without the annotation. It can't leave the scope, nor the thread.
pub struct Signalling(NotThreadSafe);

/// Runs `f`, and tells lockdep that a fence needs it to be signaled.
///
/// It is for all code that has to run between the time when a fence is published and that when it
/// is signaled: the tail of a job's submission, the interrupt or the work item that signals it,
/// the handling of timeouts. Such code must not depend on what may wait for fences, so it must not
/// - take a lock with which others wait for fences, like that of a reservation object,
/// - allocate memory, other than with [`GFP_ATOMIC`] or [`GFP_NOWAIT`], as reclaim waits for
///   fences.
///
/// With `PROVE_LOCKING`, lockdep reports it if `f` does so; without, this costs nothing. Scopes may
/// be nested.
///
/// The scope is that of a thread. A fence that is signaled by another thread needs another one
/// there.
///
/// May be called in any context. In atomic context, where sleeping is detected as it is, this does
/// nothing. C: `dma_fence_begin_signalling()` and `dma_fence_end_signalling()`.
///
/// # Examples
///
/// ```
/// use kernel::dma_fence::{
///     signalling,
///     DriverDmaFence,
///     Signalling, //
/// };
/// # use kernel::dma_fence::{DmaFenceCtx, DmaFenceNames, UnarmedDmaFence};
///
/// // To be called in such a scope only.
/// fn complete(fence: DriverDmaFence, _: &Signalling) {
///     fence.signal(Ok(()));
/// }
///
/// # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
/// let unarmed = UnarmedDmaFence::new(GFP_KERNEL)?;
///
/// signalling(|token| {
///     let fence = ctx.arm(unarmed);
///     // Publish the fence and run the job.
///     complete(fence, token);
/// });
/// # Ok::<(), Error>(())
/// ```
///
/// [`GFP_ATOMIC`]: crate::alloc::flags::GFP_ATOMIC
/// [`GFP_NOWAIT`]: crate::alloc::flags::GFP_NOWAIT
#[inline]
pub fn signalling<R>(f: impl FnOnce(&Signalling) -> R) -> R {
    // SAFETY: The scope is ended below, by the same thread. As scopes are closures, and panics
    // don't unwind, those that are begun later are ended before.
    let cookie = unsafe { bindings::dma_fence_begin_signalling() };

    let ret = f(&Signalling(NotThreadSafe));

    // SAFETY: The cookie is that of the latest scope that has not been ended.
    unsafe { bindings::dma_fence_end_signalling(cookie) };

    ret
}
