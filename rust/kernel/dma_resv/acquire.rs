// SPDX-License-Identifier: GPL-2.0

//! Locking several reservation objects at once.

use super::{
    DmaResv,
    DmaResvGuard, //
};
use crate::{
    bindings,
    error::to_result,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};
use core::{
    cell::Cell,
    ptr, //
};

/// What [`acquire`] has in its frame, so that it is there for as long as there are guards, and goes
/// after all that was locked with it is unlocked, even if guards were leaked.
///
/// # Invariants
///
/// - `ctx` is an initialized `struct ww_acquire_ctx` of `reservation_ww_class`, of the present
///   thread.
/// - All objects that are locked with `ctx` are in `locked`. There may be others.
#[pin_data(PinnedDrop)]
struct Frame<'r> {
    #[pin]
    ctx: Opaque<bindings::ww_acquire_ctx>,
    locked: Cell<KVec<&'r DmaResv>>,
    _not_send: NotThreadSafe,
}

impl<'r> Frame<'r> {
    fn new() -> impl PinInit<Self> {
        // INVARIANT: `ww_acquire_init()` initializes `ctx`, and nothing is locked yet.
        pin_init!(Self {
            ctx <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes, and pinned. The class is a static of C.
                unsafe {
                    bindings::ww_acquire_init(slot, &raw mut bindings::reservation_ww_class)
                }
            }),
            locked: Cell::new(KVec::new()),
            _not_send: NotThreadSafe,
        })
    }

    /// Returns whether `resv` is locked with this context.
    #[inline]
    fn holds(&self, resv: &DmaResv) -> bool {
        // Only this thread sets or clears this context, so no other one makes this out of date.
        //
        // SAFETY: By the type invariant, `resv.as_raw()` is valid.
        ptr::eq(
            unsafe { bindings::dma_resv_locking_ctx(resv.as_raw()) },
            self.ctx.get(),
        )
    }

    /// Returns how many objects are locked with this context.
    #[inline]
    fn acquired(&self) -> u32 {
        // SAFETY: By the type invariants, `ctx` is valid, and this thread alone locks and unlocks
        // with it.
        unsafe { (*self.ctx.get()).acquired }
    }

    fn lock<'c>(&'c self, resv: &'r DmaResv, intr: bool) -> Result<DmaResvGuard<'c>> {
        // As C would, but so that `locked` does not grow.
        if self.holds(resv) {
            return Err(EALREADY);
        }

        // INVARIANT: It is there before it is locked.
        let mut locked = self.locked.take();
        if locked.len() == locked.capacity() {
            locked.retain(|resv| self.holds(resv));
        }
        let pushed = locked.push(resv, GFP_KERNEL);
        self.locked.set(locked);
        pushed?;

        // SAFETY: By the type invariants, `resv.as_raw()` and `ctx` are valid, are of the same
        // class, and this is the thread of `ctx`. `DmaResvLocks` and `lock_all()` see to it that
        // after an `EDEADLK`, the contended object is the next to be locked.
        to_result(unsafe {
            if intr {
                bindings::dma_resv_lock_interruptible(resv.as_raw(), self.ctx.get())
            } else {
                bindings::dma_resv_lock(resv.as_raw(), self.ctx.get())
            }
        })?;

        // INVARIANT: The lock was just taken.
        Ok(DmaResvGuard {
            resv,
            _not_send: NotThreadSafe,
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Frame<'_> {
    fn drop(self: Pin<&mut Self>) {
        // There are no guards any more, as they borrow `self`. What is still locked was leaked.
        for resv in self.locked.take() {
            if self.holds(resv) {
                // SAFETY: By the type invariant, `resv.as_raw()` is valid, and it was locked with
                // `ctx`, i.e. by this thread.
                unsafe { bindings::dma_resv_unlock(resv.as_raw()) };
            }
        }

        // SAFETY: By the type invariants, `ctx` is initialized, this is its thread, and nothing is
        // locked with it any more.
        unsafe { bindings::ww_acquire_fini(self.ctx.get()) };
    }
}

/// Gives a context to lock several reservation objects with. Wraps `ww_acquire_init()` and
/// `ww_acquire_fini()`.
///
/// Threads that lock several objects, in any order, don't deadlock if each uses a context. All that
/// is locked with it has to be unlocked before `f` returns, which the compiler checks; guards that
/// were leaked are unlocked then.
///
/// The objects must exist before the call, and outlive it.
///
/// # Context
///
/// May sleep, and so may `f`. Neither lock a reservation object without the context in `f`, nor
/// begin another context, nor call this with such a lock held: it may deadlock, which lockdep
/// reports.
///
/// # Examples
///
/// ```
/// use kernel::dma_fence::{
///     DmaFenceCtx,
///     DmaFenceNames,
///     UnarmedDmaFence, //
/// };
/// use kernel::dma_resv::{
///     self,
///     DmaResv,
///     Usage, //
/// };
///
/// # let mut timeline = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
/// let src = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
/// let dst = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
/// let unarmed = UnarmedDmaFence::new(GFP_KERNEL)?;
///
/// let fence = dma_resv::acquire(|ctx| -> Result<_> {
///     // This may run several times, so it does nothing but lock.
///     let (mut src, mut dst) =
///         ctx.lock_all(|locks| Ok((locks.lock(&src)?, locks.lock(&dst)?)))?;
///
///     let src = src.reserve_one()?;
///     let dst = dst.reserve_one()?;
///
///     // Nothing can fail from here on.
///     let fence = timeline.arm(unarmed);
///     src.add(&fence, Usage::Read);
///     dst.add(&fence, Usage::Write);
///     Ok(fence)
/// })?;
///
/// assert!(src.test_signaled(Usage::implicit(false)));
/// assert!(!dst.test_signaled(Usage::implicit(false)));
/// fence.signal(Ok(()));
/// # Ok::<(), Error>(())
/// ```
pub fn acquire<'r, R>(f: impl for<'c> FnOnce(DmaResvAcquireCtx<'c, 'r>) -> R) -> R {
    pin_init::stack_pin_init!(let frame = Frame::new());

    f(DmaResvAcquireCtx {
        frame: frame.as_ref().get_ref(),
    })
}

/// Locks all of `resvs`, and calls `f` with their guards.
///
/// The guards are in the order of `resvs`, each with what came with the object. An object that
/// comes again, also as that of another GEM object, is ignored. Everything is unlocked when this
/// returns.
///
/// `resvs` is iterated over again each time that there is contention, so it has to yield the same.
///
/// # Context
///
/// May sleep, and so may `f`. No lock of a reservation object may be held, and `f` must not take
/// another one.
///
/// # Errors
///
/// - [`ENOMEM`] if there is no memory.
/// - The error of `f`.
///
/// # Examples
///
/// Lock N buffers, and add one fence to each:
///
/// ```
/// use kernel::dma_fence::{
///     DmaFenceCtx,
///     DmaFenceNames,
///     UnarmedDmaFence, //
/// };
/// use kernel::dma_resv::{
///     self,
///     DmaResv,
///     Usage, //
/// };
///
/// # let mut timeline = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
/// # let (a, b) = (
/// #     KBox::pin_init(DmaResv::new(), GFP_KERNEL)?,
/// #     KBox::pin_init(DmaResv::new(), GFP_KERNEL)?,
/// # );
/// let buffers = [(&*a, Usage::Read), (&*b, Usage::Write), (&*a, Usage::Read)];
/// let unarmed = UnarmedDmaFence::new(GFP_KERNEL)?;
///
/// let fence = dma_resv::lock_many(buffers.iter().copied(), |guards| {
///     let mut slots = KVec::with_capacity(guards.len(), GFP_KERNEL)?;
///     for (guard, usage) in guards {
///         slots.push((guard.reserve_one()?, *usage), GFP_KERNEL)?;
///     }
///
///     // Nothing can fail from here on.
///     let fence = timeline.arm(unarmed);
///     for (slot, usage) in slots {
///         slot.add(&fence, usage);
///     }
///     Ok(fence)
/// })?;
///
/// assert_eq!(a.get_fences(Usage::Read)?.len(), 1);
/// assert_eq!(b.get_fences(Usage::Write)?.len(), 1);
/// fence.signal(Ok(()));
/// # Ok::<(), Error>(())
/// ```
#[inline]
pub fn lock_many<'r, D, R>(
    resvs: impl Iterator<Item = (&'r DmaResv, D)> + Clone,
    f: impl for<'c> FnOnce(&mut [(DmaResvGuard<'c>, D)]) -> Result<R>,
) -> Result<R> {
    lock_many_raw(false, resvs, f)
}

/// Locks all of `resvs`, unless a signal arrives, and calls `f` with their guards.
///
/// See [`lock_many`].
///
/// # Errors
///
/// As [`lock_many`], and [`EINTR`] if a signal arrived while waiting.
#[inline]
pub fn lock_many_interruptible<'r, D, R>(
    resvs: impl Iterator<Item = (&'r DmaResv, D)> + Clone,
    f: impl for<'c> FnOnce(&mut [(DmaResvGuard<'c>, D)]) -> Result<R>,
) -> Result<R> {
    lock_many_raw(true, resvs, f)
}

fn lock_many_raw<'r, D, R>(
    intr: bool,
    resvs: impl Iterator<Item = (&'r DmaResv, D)> + Clone,
    f: impl for<'c> FnOnce(&mut [(DmaResvGuard<'c>, D)]) -> Result<R>,
) -> Result<R> {
    acquire(|ctx| {
        let mut guards = ctx.lock_all_raw(intr, |locks| {
            let mut guards = KVec::new();
            for (resv, data) in resvs.clone() {
                match locks.lock(resv) {
                    Ok(guard) => guards.push((guard, data), GFP_KERNEL)?,
                    Err(error) if error == EALREADY => (),
                    Err(error) => return Err(error),
                }
            }
            Ok(guards)
        })?;

        f(&mut guards)
    })
}

/// A context to lock several reservation objects with; `struct ww_acquire_ctx` in C.
///
/// Given by [`acquire`].
pub struct DmaResvAcquireCtx<'c, 'r> {
    frame: &'c Frame<'r>,
}

impl<'c, 'r> DmaResvAcquireCtx<'c, 'r> {
    /// Locks all objects that `f` asks for, and returns what `f` does, e.g. the guards.
    ///
    /// When an object is contended such that waiting for it might be a deadlock, [`lock`] fails
    /// with [`EDEADLK`], and `f` has to return an error, having dropped its guards. The
    /// contended object is locked then, once its holder lets go, and `f` is called again.
    ///
    /// If `f` fails without contention, the error is passed on.
    ///
    /// # Context
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// - [`EDEADLK`] if `f` failed because of contention but kept a guard, by leaking it or by
    ///   storing it elsewhere; or if the thread holds the lock of the contended object already,
    ///   where C finds that out.
    /// - Those that `f` returns. See [`lock`] for those that come from there.
    ///
    /// [`lock`]: DmaResvLocks::lock
    #[inline]
    pub fn lock_all<T>(self, f: impl FnMut(&DmaResvLocks<'c, 'r>) -> Result<T>) -> Result<T> {
        self.lock_all_raw(false, f)
    }

    /// Locks all objects that `f` asks for, unless a signal arrives.
    ///
    /// See [`lock_all`](Self::lock_all).
    ///
    /// # Errors
    ///
    /// As [`lock_all`](Self::lock_all), and [`EINTR`] if a signal arrived while waiting.
    #[inline]
    pub fn lock_all_interruptible<T>(
        self,
        f: impl FnMut(&DmaResvLocks<'c, 'r>) -> Result<T>,
    ) -> Result<T> {
        self.lock_all_raw(true, f)
    }

    fn lock_all_raw<T>(
        self,
        intr: bool,
        mut f: impl FnMut(&DmaResvLocks<'c, 'r>) -> Result<T>,
    ) -> Result<T> {
        let locks = DmaResvLocks {
            frame: self.frame,
            intr,
            contended: Cell::new(None),
            waited_for: Cell::new(None),
        };

        loop {
            let result = f(&locks);

            // Unlock the object if it is not wanted any more.
            locks.waited_for.set(None);

            match (locks.contended.take(), result) {
                (Some(contended), Err(_)) => {
                    // C: all has to be unlocked before waiting for the contended object.
                    if self.frame.acquired() != 0 {
                        return Err(EDEADLK);
                    }

                    // This is what `dma_resv_lock_slow()` does, which ignores errors, though.
                    let guard = self.frame.lock(contended, intr)?;
                    locks.waited_for.set(Some(guard));
                }
                (_, Err(error)) => return Err(error),
                (_, Ok(value)) => {
                    // SAFETY: `ctx` is initialized, and as `self` is given up, nothing more is
                    // locked with it.
                    unsafe { bindings::ww_acquire_done(self.frame.ctx.get()) };

                    return Ok(value);
                }
            }
        }
    }
}

/// What locks objects in [`DmaResvAcquireCtx::lock_all`].
pub struct DmaResvLocks<'c, 'r> {
    frame: &'c Frame<'r>,
    intr: bool,
    /// The object for which there was an `EDEADLK` in this attempt. Nothing is locked after it.
    contended: Cell<Option<&'r DmaResv>>,
    /// The contended object of the last attempt, locked, if it was not asked for yet.
    waited_for: Cell<Option<DmaResvGuard<'c>>>,
}

impl<'c, 'r> DmaResvLocks<'c, 'r> {
    /// Locks a reservation object. Wraps `dma_resv_lock()` and `dma_resv_lock_interruptible()`.
    ///
    /// The guard is one like that of [`DmaResv::lock`]. It may be dropped at any time.
    ///
    /// # Context
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// - [`EDEADLK`] if the object is contended, or another one was in this attempt. Drop all
    ///   guards and return an error, to be called again. Or, to do without the object, go on with
    ///   those that are locked.
    /// - [`EALREADY`] if it is locked with this context: it was named twice, or two GEM objects
    ///   share it. It has a guard already.
    /// - [`ENOMEM`] if there is no memory.
    /// - [`EINTR`] if a signal arrived, in [`lock_all_interruptible`] only.
    ///
    /// [`lock_all_interruptible`]: DmaResvAcquireCtx::lock_all_interruptible
    pub fn lock(&self, resv: &'r DmaResv) -> Result<DmaResvGuard<'c>> {
        if self.contended.get().is_some() {
            return Err(EDEADLK);
        }

        match self.waited_for.take() {
            Some(guard) if ptr::eq(guard.resv, resv) => return Ok(guard),
            other => self.waited_for.set(other),
        }

        let result = self.frame.lock(resv, self.intr);

        if matches!(&result, Err(error) if *error == EDEADLK) {
            self.contended.set(Some(resv));
        }

        result
    }
}
