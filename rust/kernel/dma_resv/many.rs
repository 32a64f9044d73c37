// SPDX-License-Identifier: GPL-2.0

//! Locking several reservation objects at once.

use super::{
    DmaResv,
    DmaResvGuard,
    DmaResvSlot,
    DmaResvSlots, //
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
    ops::Deref,
    ptr, //
};

/// A context to lock several reservation objects with.
///
/// # Invariants
///
/// - `inner` is an initialized `struct ww_acquire_ctx` of `reservation_ww_class`, of the present
///   thread.
/// - Each object that is locked with `inner` has a [`ManyGuard`].
#[pin_data(PinnedDrop)]
struct AcquireCtx {
    #[pin]
    inner: Opaque<bindings::ww_acquire_ctx>,
}

impl AcquireCtx {
    fn new() -> impl PinInit<Self> {
        // INVARIANT: `ww_acquire_init()` initializes `inner`, and nothing is locked yet.
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes, and pinned. The class is a static of C.
                unsafe {
                    bindings::ww_acquire_init(slot, &raw mut bindings::reservation_ww_class)
                }
            }),
        })
    }

    /// Locks an object. After an [`EDEADLK`], all that is locked has to be unlocked, and then the
    /// same object locked.
    fn lock<'a>(&'a self, resv: &'a DmaResv, intr: bool) -> Result<ManyGuard<'a>> {
        // SAFETY: By the type invariants, `resv.as_raw()` and `inner` are valid, are of the same
        // class, and this is the thread of `inner`. If it is locked, the owner lives, as in
        // `DmaResv::lock()`, and by the invariant of `ManyGuard` so does its context.
        to_result(unsafe {
            if intr {
                bindings::dma_resv_lock_interruptible(resv.as_raw(), self.inner.get())
            } else {
                bindings::dma_resv_lock(resv.as_raw(), self.inner.get())
            }
        })?;

        // INVARIANT: The lock was just taken. The guard borrows `self`, and only `lock_many_raw()`
        // gets it, which does not leak it.
        Ok(ManyGuard(DmaResvGuard {
            resv,
            _not_send: NotThreadSafe,
        }))
    }
}

#[pinned_drop]
impl PinnedDrop for AcquireCtx {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants, `inner` is initialized, this is its thread, and nothing
        // is locked with it, as by the invariant of `ManyGuard` all guards were dropped.
        unsafe { bindings::ww_acquire_fini(self.inner.get()) };
    }
}

/// The lock of an object that [`lock_many()`] has locked.
///
/// A [`DmaResvGuard`] that can't be leaked. The closure only borrows it, and has none to put in its
/// place: nothing else makes a `ManyGuard`, one of another call has another lifetime, and the guard
/// in it can't be borrowed mutably.
///
/// # Invariants
///
/// It is never leaked, and is dropped before the context that it was locked with.
pub struct ManyGuard<'a>(DmaResvGuard<'a>);

impl ManyGuard<'_> {
    /// Reserves slots for `n` fences. See [`DmaResvGuard::reserve`].
    #[inline]
    pub fn reserve(&mut self, n: u32) -> Result<DmaResvSlots<'_>> {
        self.0.reserve(n)
    }

    /// Reserves a slot for one fence. See [`DmaResvGuard::reserve_one`].
    #[inline]
    pub fn reserve_one(&mut self) -> Result<DmaResvSlot<'_>> {
        self.0.reserve_one()
    }
}

// No `DerefMut`: another `DmaResvGuard` could take its place, and it could be leaked.
impl<'a> Deref for ManyGuard<'a> {
    type Target = DmaResvGuard<'a>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Locks all of `resvs`, and calls `f` with their guards. Wraps `ww_acquire_init()`,
/// `dma_resv_lock()` with the context, `ww_acquire_done()`, and `ww_acquire_fini()`.
///
/// Threads that lock several objects, in any order, don't deadlock if each uses this, or a context
/// in C: when an object is contended such that waiting for it might be a deadlock, everything is
/// unlocked, the contended object is locked once its holder lets go, and then the others are.
///
/// The guards are in the order of `resvs`, each with what came with the object. An object that
/// comes again, also as that of another GEM object, is ignored, and so is what comes with it. So
/// yield the objects that are written to first. Everything is unlocked when this returns.
///
/// `resvs` is iterated over again each time that everything was unlocked, so it has to yield the
/// same. The caller limits how many there are; lockdep can't count more than 2000.
///
/// # Context
///
/// May sleep, and so may `f`. No lock of a reservation object may be held. Neither `resvs` nor `f`
/// nor the drops of what comes with the objects may take another one, or drop the last reference to
/// a GEM object, which may take one: that may deadlock, and lockdep reports it.
///
/// # Errors
///
/// - [`ENOMEM`] if there is no memory.
/// - [`EDEADLK`] with PREEMPT_RT, if too many threads wait for one another.
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
    f: impl for<'c> FnOnce(&mut [(ManyGuard<'c>, D)]) -> Result<R>,
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
    f: impl for<'c> FnOnce(&mut [(ManyGuard<'c>, D)]) -> Result<R>,
) -> Result<R> {
    lock_many_raw(true, resvs, f)
}

fn lock_many_raw<'r, D, R>(
    intr: bool,
    resvs: impl Iterator<Item = (&'r DmaResv, D)> + Clone,
    f: impl for<'c> FnOnce(&mut [(ManyGuard<'c>, D)]) -> Result<R>,
) -> Result<R> {
    pin_init::stack_pin_init!(let ctx = AcquireCtx::new());
    let mut guards = KVVec::with_capacity(resvs.size_hint().0, GFP_KERNEL)?;
    let mut contended = None;

    'again: loop {
        guards.clear();
        // Not `dma_resv_lock_slow()`, which ignores errors, and warns about an EDEADLK that is due
        // to the limit of waiters of PREEMPT_RT.
        let mut contended_guard = match contended {
            Some(resv) => Some(ctx.lock(resv, intr)?),
            None => None,
        };

        for (resv, data) in resvs.clone() {
            let guard = match contended_guard.take_if(|guard| ptr::eq(guard.resv(), resv)) {
                Some(guard) => Ok(guard),
                None => ctx.lock(resv, intr),
            };
            match guard {
                Ok(guard) => guards.push((guard, data), GFP_KERNEL)?,
                // It is locked with `ctx`, so it came before.
                Err(error) if error == EALREADY => (),
                Err(error) if error == EDEADLK => {
                    contended = Some(resv);
                    continue 'again;
                }
                Err(error) => return Err(error),
            }
        }
        break;
    }

    // SAFETY: `inner` is initialized, and nothing more is locked with it.
    unsafe { bindings::ww_acquire_done(ctx.inner.get()) };

    // `f` takes guards of any lifetime, so it can't exchange them for those of another call.
    f(&mut guards)
}
