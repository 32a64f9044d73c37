// SPDX-License-Identifier: GPL-2.0

//! DMA reservation objects.
//!
//! A reservation object holds the fences of a buffer that drivers share, each with how it uses the
//! buffer, and a lock. Every GEM object has one.
//!
//! C header: [`include/linux/dma-resv.h`](srctree/include/linux/dma-resv.h)
//!
//! # Locking
//!
//! The order is `mmap_lock`, reservation lock, memory reclaim, waiting for fences. So with the lock
//! held it is fine to allocate and to wait for a fence, but not to copy to or from user space,
//! which may take `mmap_lock`; and neither to lock nor to allocate where a fence waits to be
//! signaled.
//!
//! To lock several objects at once, see [`lock_many()`].
//!
//! # Context
//!
//! "Any" context is that of [fences](crate::dma_fence#context). Reserving slots, adding a fence and
//! queries look whether fences are signaled, which may signal them and so run their callbacks.
//!
//! # Examples
//!
//! ```
//! use kernel::dma_fence::{
//!     DmaFenceCtx,
//!     DmaFenceNames,
//!     UnarmedDmaFence, //
//! };
//! use kernel::dma_resv::{
//!     DmaResv,
//!     Usage, //
//! };
//!
//! # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
//! let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
//! let unarmed = UnarmedDmaFence::new(GFP_KERNEL)?;
//!
//! let fence = {
//!     let mut guard = resv.lock();
//!
//!     // All that can fail comes before the fence.
//!     let slot = guard.reserve_one()?;
//!     let fence = ctx.arm(unarmed);
//!     slot.add(&fence, Usage::Write);
//!     fence
//! };
//!
//! // Someone who wants to read waits for those who write.
//! assert!(!resv.test_signaled(Usage::implicit(false)));
//! fence.signal(Ok(()));
//! assert!(resv.test_signaled(Usage::implicit(false)));
//! # Ok::<(), Error>(())
//! ```

use crate::{
    bindings,
    dma_fence::{
        DmaFence,
        DriverDmaFence, //
    },
    error::to_result,
    prelude::*,
    sync::aref::ARef,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};
use core::ptr;

mod iter;
pub use self::iter::DmaResvIter;

mod many;
pub use self::many::{
    lock_many,
    lock_many_interruptible,
    ManyGuard, //
};

mod wait;

#[cfg(CONFIG_RUST_DMA_RESV_KUNIT_TEST)]
mod tests;

/// How a fence uses the buffer, or which fences are queried; `enum dma_resv_usage` in C.
///
/// A query for a usage covers the fences of it and of those before it, e.g. one for [`Usage::Read`]
/// covers [`Usage::Kernel`] and [`Usage::Write`] too.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u32)]
pub enum Usage {
    /// The kernel moves or clears the memory. Must be waited for before the memory is accessed,
    /// whatever else is synchronized.
    Kernel = bindings::dma_resv_usage_DMA_RESV_USAGE_KERNEL,
    /// Implicitly synchronized write.
    Write = bindings::dma_resv_usage_DMA_RESV_USAGE_WRITE,
    /// Implicitly synchronized read.
    Read = bindings::dma_resv_usage_DMA_RESV_USAGE_READ,
    /// No implicit synchronization; only the memory has to stay.
    Bookkeep = bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP,
}

impl Usage {
    /// Returns the usage whose fences a writer, or a reader, has to wait for. The counterpart of
    /// `dma_resv_usage_rw()`.
    ///
    /// A writer waits for readers and writers, a reader for writers.
    ///
    /// It is for queries and waits. A job adds its own fence with [`Usage::Write`] if it writes,
    /// and with [`Usage::Read`] if it only reads, which is the reverse of what this returns.
    #[inline]
    pub const fn implicit(write: bool) -> Self {
        if write {
            Self::Read
        } else {
            Self::Write
        }
    }

    /// Converts the usage that C stores with each fence, in two bits.
    #[inline]
    fn from_raw(usage: bindings::dma_resv_usage) -> Self {
        match usage {
            bindings::dma_resv_usage_DMA_RESV_USAGE_KERNEL => Self::Kernel,
            bindings::dma_resv_usage_DMA_RESV_USAGE_WRITE => Self::Write,
            bindings::dma_resv_usage_DMA_RESV_USAGE_READ => Self::Read,
            _ => Self::Bookkeep,
        }
    }
}

/// A DMA reservation object.
///
/// That of a GEM object is borrowed from the object; [`DmaResv::new`] makes one without.
///
/// # Context
///
/// It may be dropped in any context, which drops the references to its fences.
///
/// # Invariants
///
/// `self.inner` is an initialized `struct dma_resv`.
#[pin_data(PinnedDrop)]
#[repr(transparent)]
pub struct DmaResv {
    #[pin]
    inner: Opaque<bindings::dma_resv>,
}

// SAFETY: A reservation object is not bound to a thread. A guard borrows it, so it is sent or
// dropped with the lock held only if the guard was leaked; nobody waits for the lock then, as that
// borrows the object, too.
unsafe impl Send for DmaResv {}

// SAFETY: All that can be done with a shared reference is protected by the lock in it, or by RCU.
unsafe impl Sync for DmaResv {}

impl DmaResv {
    /// Returns an initializer for a reservation object without fences. Wraps `dma_resv_init()`.
    #[inline]
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: `dma_resv_init()` initializes it.
            inner <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes, and pinned.
                unsafe { bindings::dma_resv_init(slot) }
            }),
        })
    }

    /// Borrows the reservation object behind a raw pointer.
    ///
    /// # Safety
    ///
    /// `ptr` must point to an initialized `struct dma_resv` that lives for all of `'a`.
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::dma_resv) -> &'a Self {
        // CAST: `DmaResv` is a transparent wrapper of `struct dma_resv`.
        // SAFETY: By the safety requirements, `ptr` is valid for `'a`.
        unsafe { &*ptr.cast() }
    }

    /// Returns the raw pointer to the `struct dma_resv`.
    #[inline]
    pub fn as_raw(&self) -> *mut bindings::dma_resv {
        self.inner.get()
    }

    /// Locks the reservation object. Wraps `dma_resv_lock()`.
    ///
    /// # Context
    ///
    /// May sleep. Locking it twice in one thread is a deadlock.
    #[inline]
    pub fn lock(&self) -> DmaResvGuard<'_> {
        // Without an acquire context this always returns 0.
        //
        // SAFETY: By the type invariant, `self.as_raw()` is valid. If it is locked, the owner
        // lives, as C needs that to spin: a thread must not leak a guard and exit.
        unsafe { bindings::dma_resv_lock(self.as_raw(), ptr::null_mut()) };

        // INVARIANT: The lock was just taken.
        DmaResvGuard {
            resv: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Locks the reservation object, unless a signal arrives. Wraps
    /// `dma_resv_lock_interruptible()`.
    ///
    /// # Context
    ///
    /// As for [`lock`](Self::lock).
    ///
    /// # Errors
    ///
    /// [`EINTR`] if a signal arrived first.
    #[inline]
    pub fn lock_interruptible(&self) -> Result<DmaResvGuard<'_>> {
        // SAFETY: As in `lock()`.
        to_result(unsafe {
            bindings::dma_resv_lock_interruptible(self.as_raw(), ptr::null_mut())
        })?;

        // INVARIANT: The lock was just taken.
        Ok(DmaResvGuard {
            resv: self,
            _not_send: NotThreadSafe,
        })
    }

    /// Returns whether any thread has the lock. Wraps `dma_resv_is_locked()`.
    ///
    /// The answer may be out of date at once.
    ///
    /// # Context
    ///
    /// Any.
    #[inline]
    pub fn is_locked(&self) -> bool {
        // SAFETY: By the type invariant, `self.as_raw()` is valid.
        unsafe { bindings::dma_resv_is_locked(self.as_raw()) }
    }

    /// Returns whether all fences of `usage`, and of those before it, are signaled. Wraps
    /// `dma_resv_test_signaled()`.
    ///
    /// Without the lock, the answer may be out of date at once.
    ///
    /// # Context
    ///
    /// Any, but not a callback of a fence, nor with a lock held that a callback of one of the
    /// object's fences takes: it queries them, which may signal them.
    #[inline]
    pub fn test_signaled(&self, usage: Usage) -> bool {
        // SAFETY: By the type invariant, `self.as_raw()` is valid.
        unsafe { bindings::dma_resv_test_signaled(self.as_raw(), usage as u32) }
    }

    /// Returns the unsignaled fences of `usage`, and of those before it. Wraps
    /// `dma_resv_get_fences()`.
    ///
    /// Without the lock, the answer may be out of date at once.
    ///
    /// # Context
    ///
    /// Process context; may sleep, as it allocates. Not with a lock held that a callback of one of
    /// the object's fences takes: it queries them, which may signal them.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if there is no memory.
    pub fn get_fences(&self, usage: Usage) -> Result<KVec<ARef<DmaFence>>> {
        let (mut count, mut fences) = (0, ptr::null_mut());

        // SAFETY: By the type invariant, `self.as_raw()` is valid. The others can be written to.
        to_result(unsafe {
            bindings::dma_resv_get_fences(self.as_raw(), usage as u32, &mut count, &mut fences)
        })?;

        if fences.is_null() {
            return Ok(KVec::new());
        }

        static_assert!(size_of::<ARef<DmaFence>>() == size_of::<*mut bindings::dma_fence>());

        // CAST: An `ARef` has a pointer in it, and the size of one, so it is nothing else.
        // `DmaFence` is a transparent wrapper of `struct dma_fence`. An `unsigned int` fits a
        // `usize`.
        // SAFETY: C succeeded, so `fences` comes from `kmalloc()`, i.e. `Kmalloc`, and has at least
        // `count` fences, each with a reference, which are ours now.
        Ok(unsafe { KVec::from_raw_parts(fences.cast(), count as usize, count as usize) })
    }
}

#[pinned_drop]
impl PinnedDrop for DmaResv {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant, it is initialized. Nobody borrows it, so nobody uses it
        // any more, nor waits for its lock, even if a guard was leaked.
        unsafe { bindings::dma_resv_fini(self.inner.get()) };
    }
}

/// The lock of a [`DmaResv`], held.
///
/// While there is a guard, do not do what takes the lock of the same object: map or unmap a GEM
/// object in the kernel, get its SG table, or drop the last reference to one that shares its
/// reservation object.
///
/// # Leaking
///
/// A leaked guard leaves the object locked for good. The thread must not exit then: as with any
/// mutex, others that wait for the lock look at the task that holds it, which would be freed.
/// Lockdep reports a thread that exits with a lock held, and an object that is freed while it is
/// locked. Dropping the last reference to a locked GEM shmem object waits forever. Only the guards
/// of [`lock_many()`] can't be leaked.
///
/// # Context
///
/// Dropping it unlocks, in the thread that locked. It does not sleep.
///
/// # Invariants
///
/// The present thread holds the lock of `self.resv`.
#[must_use = "the lock unlocks immediately when the guard is unused"]
pub struct DmaResvGuard<'a> {
    resv: &'a DmaResv,
    _not_send: NotThreadSafe,
}

impl<'a> DmaResvGuard<'a> {
    /// The most slots that can be reserved at once.
    pub const MAX_SLOTS: u32 = 1 << 16;

    /// Returns the reservation object, e.g. to wait with the lock held.
    ///
    /// Don't lock it again, which is a deadlock.
    #[inline]
    pub fn resv(&self) -> &'a DmaResv {
        self.resv
    }

    /// Returns whether all fences of `usage`, and of those before it, are signaled.
    ///
    /// Once this is [`true`], it stays so until a fence is added, which needs this guard.
    ///
    /// This is [`DmaResv::test_signaled`], but as the object is locked, it need not get and put the
    /// fences that it looks at.
    ///
    /// # Context
    ///
    /// Any, but not with a lock held that a callback of one of these fences takes: it queries them,
    /// which may signal them.
    #[inline]
    pub fn test_signaled(&self, usage: Usage) -> bool {
        self.iter(usage).all(|(fence, _)| fence.is_signaled())
    }

    /// Iterates over the fences of `usage`, and of those before it. Wraps
    /// `dma_resv_for_each_fence()`.
    ///
    /// Some of them may be signaled. No fence can be added meanwhile, as that needs the guard.
    ///
    /// # Context
    ///
    /// Any. It does not query the fences.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::dma_resv::{
    ///     DmaResv,
    ///     Usage, //
    /// };
    ///
    /// # use kernel::dma_fence::{DmaFenceCtx, DmaFenceNames, UnarmedDmaFence};
    /// # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
    /// # let fence = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
    /// # let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
    /// let mut guard = resv.lock();
    /// guard.reserve_one()?.add(&fence, Usage::Read);
    ///
    /// for (fence, usage) in guard.iter(Usage::Bookkeep) {
    ///     assert_eq!(fence.seqno(), 1);
    ///     assert_eq!(usage, Usage::Read);
    /// }
    /// assert_eq!(guard.iter(Usage::Write).count(), 0);
    /// # drop(guard);
    /// # fence.signal(Ok(()));
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn iter(&self, usage: Usage) -> DmaResvIter<'_> {
        // SAFETY: By the type invariant, the lock is held. With `self` borrowed it stays so, and
        // nobody adds or takes a fence, which needs `&mut self`.
        unsafe { DmaResvIter::new(self.resv, usage) }
    }

    /// Returns the unsignaled fences of `usage`, and of those before it.
    ///
    /// See [`DmaResv::get_fences`]; this is the same.
    #[inline]
    pub fn get_fences(&self, usage: Usage) -> Result<KVec<ARef<DmaFence>>> {
        self.resv.get_fences(usage)
    }

    /// Reserves slots for `n` fences. Wraps `dma_resv_reserve_fences()`.
    ///
    /// The guard can't be used for anything else, nor unlocked, while there are slots. Those that
    /// are not used are given back when the object is unlocked or reserved from again.
    ///
    /// # Context
    ///
    /// Process context; may sleep, as it allocates. Not with a lock held that a callback of one of
    /// the object's fences takes: it queries them, which may signal them.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `n` is 0 or more than [`MAX_SLOTS`](Self::MAX_SLOTS).
    /// - [`ENOMEM`] if there is no memory.
    #[inline]
    pub fn reserve(&mut self, n: u32) -> Result<DmaResvSlots<'_>> {
        self.reserve_raw(n)?;

        // INVARIANT: `n` slots were reserved, and with `self` borrowed nobody can take them.
        Ok(DmaResvSlots {
            resv: self.resv,
            left: n,
            _not_send: NotThreadSafe,
        })
    }

    /// Reserves a slot for one fence.
    ///
    /// See [`reserve`](Self::reserve) for context and errors.
    #[inline]
    pub fn reserve_one(&mut self) -> Result<DmaResvSlot<'_>> {
        self.reserve_raw(1)?;

        // INVARIANT: A slot was reserved, and with `self` borrowed nobody can take it.
        Ok(DmaResvSlot {
            resv: self.resv,
            _not_send: NotThreadSafe,
        })
    }

    #[inline]
    fn reserve_raw(&mut self, n: u32) -> Result {
        // C warns about 0, and adds `n` to the number of fences without a check for overflow.
        if n == 0 || n > Self::MAX_SLOTS {
            return Err(EINVAL);
        }

        // SAFETY: By the type invariant, the lock is held.
        to_result(unsafe { bindings::dma_resv_reserve_fences(self.resv.as_raw(), n) })
    }
}

impl Drop for DmaResvGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the present thread holds the lock.
        unsafe { bindings::dma_resv_unlock(self.resv.as_raw()) };
    }
}

/// Slots for fences, reserved in a locked [`DmaResv`].
///
/// Iterate over it to get each [`DmaResvSlot`].
///
/// # Invariants
///
/// - `left` slots are reserved, besides those of the [`DmaResvSlot`]s that it has yielded.
/// - The lock of `resv` is held by the present thread for all of `'a`, and nothing else is reserved
///   meanwhile.
#[must_use = "slots are there to add fences to"]
pub struct DmaResvSlots<'a> {
    resv: &'a DmaResv,
    left: u32,
    _not_send: NotThreadSafe,
}

impl<'a> Iterator for DmaResvSlots<'a> {
    type Item = DmaResvSlot<'a>;

    #[inline]
    fn next(&mut self) -> Option<DmaResvSlot<'a>> {
        self.left = self.left.checked_sub(1)?;

        // INVARIANT: One of the slots goes from `self` to the new value.
        Some(DmaResvSlot {
            resv: self.resv,
            _not_send: NotThreadSafe,
        })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for DmaResvSlots<'_> {}

/// A slot for a fence, reserved in a locked [`DmaResv`].
///
/// # Invariants
///
/// - A slot is reserved for `self`.
/// - The lock of `resv` is held by the present thread for all of `'a`.
#[must_use = "a slot is there to add a fence to"]
pub struct DmaResvSlot<'a> {
    resv: &'a DmaResv,
    _not_send: NotThreadSafe,
}

impl DmaResvSlot<'_> {
    /// Adds a fence that this driver emits, which is visible to others from now on. Wraps
    /// `dma_resv_add_fence()`.
    ///
    /// May replace a signaled fence, or an earlier one of the same timeline, which is put. Takes
    /// another reference to `fence`. It can't fail.
    ///
    /// # Context
    ///
    /// Any, but not with a lock held that a callback of one of the object's fences takes: it
    /// queries them, which may signal them. Does not sleep.
    #[inline]
    pub fn add<T>(self, fence: &DriverDmaFence<T>, usage: Usage) {
        self.add_raw(fence, usage)
    }

    /// Adds a fence of any driver. See [`add`](Self::add).
    ///
    /// # Errors
    ///
    /// Gives back the slot if `fence` is made of other fences, which must be added one by one.
    #[inline]
    pub fn add_shared(self, fence: &DmaFence, usage: Usage) -> Result<(), Self> {
        if fence.is_container() {
            return Err(self);
        }

        self.add_raw(fence, usage);
        Ok(())
    }

    #[inline]
    fn add_raw(self, fence: &DmaFence, usage: Usage) {
        // SAFETY: By the type invariants, the lock is held, and there is a slot for the fence.
        unsafe { bindings::dma_resv_add_fence(self.resv.as_raw(), fence.as_raw(), usage as u32) };
    }
}
