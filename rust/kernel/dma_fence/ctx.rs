// SPDX-License-Identifier: GPL-2.0

//! The emitter's side of fences: timelines, their names, and the fences on them.

use super::DmaFence;
use crate::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings,
    ffi::c_void,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        rcu, //
    },
    types::{
        ForeignOwnable,
        Opaque, //
    },
};
use core::{
    marker::PhantomData,
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
};

/// The size of a name, its NUL included: that of the fields of `struct sync_fence_info`, which is
/// where user space reads names.
const NAME_SIZE: usize = 32;

/// The names of a driver and of one of its timelines.
///
/// Others see them in debugfs, in traces and, through `SYNC_IOC_FILE_INFO`, in user space, for as
/// long as a fence is not signaled.
///
/// # Context
///
/// References may be dropped in any context. The last one frees the memory after a grace period.
///
/// # Invariants
///
/// - `driver` and `timeline` contain a NUL.
/// - The allocation comes from `Kmalloc`, and is given back through `kvfree_call_rcu()` when
///   `refcount` drops to zero.
pub struct DmaFenceNames {
    rcu: Opaque<bindings::kvfree_rcu_head>,
    // With 64 bits it can't overflow, so there is no need for what `Refcount` does about that.
    pub(super) refcount: Atomic<i64>,
    driver: [u8; NAME_SIZE],
    timeline: [u8; NAME_SIZE],
}

// SAFETY: Apart from its reference count, which is atomic, a `DmaFenceNames` never changes, and its
// last reference may be dropped in any context.
unsafe impl Send for DmaFenceNames {}

// SAFETY: As for `Send`.
unsafe impl Sync for DmaFenceNames {}

impl DmaFenceNames {
    /// Allocates the names of a driver and of a timeline.
    ///
    /// # Context
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// - [`ENAMETOOLONG`] if a name has more than 31 bytes, the most that user space can read.
    /// - [`ENOMEM`] if there is no memory.
    pub fn new(driver: &CStr, timeline: &CStr) -> Result<ARef<Self>> {
        let copy = |name: &CStr| -> Result<[u8; NAME_SIZE]> {
            let bytes = name.to_bytes_with_nul();
            let mut copy = [0; NAME_SIZE];
            copy.get_mut(..bytes.len())
                .ok_or(ENAMETOOLONG)?
                .copy_from_slice(bytes);
            Ok(copy)
        };

        // INVARIANT: `copy` keeps the NUL of each name, and `KBox` allocates from `Kmalloc`.
        let names = KBox::new(
            Self {
                rcu: Opaque::uninit(),
                refcount: Atomic::new(1),
                driver: copy(driver)?,
                timeline: copy(timeline)?,
            },
            GFP_KERNEL,
        )?;

        // SAFETY: The initial reference goes to the `ARef`. `KBox::into_raw()` is never null.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(KBox::into_raw(names))) })
    }
}

// SAFETY: The names are freed only once `refcount` is zero.
unsafe impl AlwaysRefCounted for DmaFenceNames {
    #[inline]
    fn inc_ref(&self) {
        self.refcount.add(1, Relaxed);
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller owns a reference, so `obj` is valid until it is given up here.
        if unsafe { obj.as_ref() }.refcount.fetch_sub(1, Full) == 1 {
            // SAFETY:
            // - By the type invariants, the allocation comes from `Kmalloc`; nobody owns a
            //   reference to it any more.
            // - Readers under RCU that found it through an unsignaled fence are waited for.
            // - `rcu` is less than 4096 bytes into the allocation.
            unsafe {
                bindings::kvfree_call_rcu(
                    Opaque::cast_into(&raw const (*obj.as_ptr()).rcu),
                    obj.as_ptr().cast(),
                )
            };
        }
    }
}

/// A fence that a Rust driver emits, as its operations know it.
///
/// # Invariants
///
/// `names` is dropped once, after `fence` was signaled, and never written to before.
#[repr(C)]
struct Emitted {
    fence: DmaFence,
    names: ManuallyDrop<ARef<DmaFenceNames>>,
}

/// The allocation of a fence that a Rust driver emits.
///
/// C frees it through `dma_fence_free()`, so the fence comes first, and no destructor runs.
#[pin_data]
#[repr(C)]
struct Allocation<T> {
    emitted: MaybeUninit<Emitted>,
    #[pin]
    data: T,
}

// One pointer more than in C, and no more: there may be millions of fences.
static_assert!(size_of::<Allocation<()>>() <= size_of::<bindings::dma_fence>() + 8);

/// There is no `release` and no `wait`, so C forgets this table when the fence is signaled.
static OPS: bindings::dma_fence_ops = bindings::dma_fence_ops {
    get_driver_name: Some(Emitted::get_driver_name),
    get_timeline_name: Some(Emitted::get_timeline_name),
    ..pin_init::zeroed()
};

impl Emitted {
    /// # Safety
    ///
    /// `fence` must be the `fence` of an [`Emitted`], and be unsignaled, or have been so in the
    /// present RCU read-side critical section.
    unsafe fn names<'a>(fence: *mut bindings::dma_fence) -> &'a DmaFenceNames {
        // CAST: `Emitted` is `repr(C)` and starts with the fence.
        // SAFETY: By the safety requirements, `fence` is in an `Emitted`. By its invariant, the
        // names were referenced when the critical section began, so that they are freed after it.
        unsafe { &(*fence.cast::<Self>()).names }
    }

    /// # Safety
    ///
    /// To be called by C only, as an operation in [`OPS`].
    unsafe extern "C" fn get_driver_name(fence: *mut bindings::dma_fence) -> *const c_char {
        // SAFETY: The operations are those of an `Emitted`. C calls this under RCU, for a fence
        // that was not signaled when it took the operations from it. Or a tracepoint does, while
        // the fence is initialized or signaled, and the `Emitted` still has the names.
        unsafe { Self::names(fence) }.driver.as_ptr().cast()
    }

    /// # Safety
    ///
    /// As for [`get_driver_name`](Self::get_driver_name).
    unsafe extern "C" fn get_timeline_name(fence: *mut bindings::dma_fence) -> *const c_char {
        // SAFETY: As in `get_driver_name()`.
        unsafe { Self::names(fence) }.timeline.as_ptr().cast()
    }
}

/// The memory of a fence to come, with the driver's data `T`.
///
/// Allocate it before the point of no return, and [arm](DmaFenceCtx::arm) it after.
///
/// # Context
///
/// Dropping it drops `T` and frees the memory, in any context in which `T` may be dropped.
#[must_use = "a fence has to be armed to be of use"]
pub struct UnarmedDmaFence<T = ()>(Pin<KBox<Allocation<T>>>);

impl UnarmedDmaFence {
    /// Allocates a fence without driver data.
    ///
    /// # Context
    ///
    /// May sleep where `flags` allow it. Must not be called between the publication and the
    /// signaling of a fence, unless with [`GFP_ATOMIC`] or [`GFP_NOWAIT`]: reclaim may wait for
    /// fences.
    ///
    /// # Errors
    ///
    /// [`AllocError`] if there is no memory.
    ///
    /// [`GFP_ATOMIC`]: crate::alloc::flags::GFP_ATOMIC
    /// [`GFP_NOWAIT`]: crate::alloc::flags::GFP_NOWAIT
    #[inline]
    pub fn new(flags: Flags) -> Result<Self, AllocError> {
        // Only the allocation can fail.
        Self::with_data((), flags).map_err(|_| AllocError)
    }
}

impl<T> UnarmedDmaFence<T> {
    /// Allocates a fence, and initializes the driver's data in it.
    ///
    /// # Context
    ///
    /// That of [`new`](UnarmedDmaFence::new), and of `init`.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if there is no memory, or the error of `init`.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::dma_fence::{
    ///     DmaFenceCtx,
    ///     DmaFenceNames,
    ///     UnarmedDmaFence, //
    /// };
    /// use kernel::sync::{
    ///     new_spinlock,
    ///     SpinLock, //
    /// };
    ///
    /// #[pin_data]
    /// struct Job {
    ///     number: u32,
    ///     #[pin]
    ///     progress: SpinLock<u32>,
    /// }
    ///
    /// # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
    /// let unarmed = UnarmedDmaFence::with_data(
    ///     pin_init!(Job {
    ///         number: 7,
    ///         progress <- new_spinlock!(0),
    ///     }),
    ///     GFP_KERNEL,
    /// )?;
    /// let fence = ctx.arm(unarmed);
    ///
    /// *fence.data().get_ref().progress.lock() = 100;
    /// assert_eq!(fence.data().number, 7);
    ///
    /// // Drops the job.
    /// fence.signal(Ok(()));
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn with_data<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self>
    where
        Error: From<E>,
    {
        Ok(Self(KBox::pin_init(
            pin_init!(Allocation {
                emitted: MaybeUninit::uninit(),
                data <- init,
            }? E),
            flags,
        )?))
    }

    #[inline]
    fn arm(self, names: ARef<DmaFenceNames>, context: u64, seqno: u64) -> DriverDmaFence<T> {
        // SAFETY: The allocation is not moved, but turned into that of a `DriverDmaFence`.
        let allocation = KBox::into_raw(unsafe { Pin::into_inner_unchecked(self.0) });

        // CAST: `Allocation` is `repr(C)` and starts with the fence.
        let emitted: *mut Emitted = allocation.cast();

        // SAFETY: `emitted` is in a live allocation that is ours.
        unsafe { (&raw mut (*emitted).names).write(ManuallyDrop::new(names)) };

        // SAFETY:
        // - `emitted` starts with a `struct dma_fence`, which is ours.
        // - The mandatory operations are there, and find the names, written above.
        // - Without a lock, C uses that of the fence.
        unsafe {
            bindings::dma_fence_init64(emitted.cast(), &OPS, ptr::null_mut(), context, seqno)
        };

        // INVARIANT: The fence was just initialized, and is not signaled. Its data comes from an
        // `UnarmedDmaFence`. The initial reference is that of the `DriverDmaFence`.
        // SAFETY: `allocation` comes from a `KBox`, so it is not null.
        DriverDmaFence(unsafe { NonNull::new_unchecked(allocation) })
    }
}

/// A timeline of fences.
///
/// The fences of a timeline must be signaled in the order in which they are armed, as others rely
/// on that: they wait for the last one only, and a reservation object forgets those before it.
/// Fences with no such order need a timeline each, for which a `DmaFenceCtx` is cheap enough:
/// creating one neither allocates nor fails.
///
/// # Context
///
/// It may be dropped in any context, as a reference to its names may.
pub struct DmaFenceCtx {
    names: ARef<DmaFenceNames>,
    context: u64,
    pub(super) seqno: u64,
}

impl DmaFenceCtx {
    /// Creates a timeline with a new context number. Wraps `dma_fence_context_alloc()`.
    ///
    /// # Context
    ///
    /// Any.
    #[inline]
    pub fn new(names: ARef<DmaFenceNames>) -> Self {
        Self {
            names,
            // SAFETY: `dma_fence_context_alloc()` only adds to an atomic counter.
            context: unsafe { bindings::dma_fence_context_alloc(1) },
            seqno: 0,
        }
    }

    /// Returns the context number that all fences of the timeline have.
    #[inline]
    pub fn context(&self) -> u64 {
        self.context
    }

    /// Makes a fence, the next one on the timeline. Wraps `dma_fence_init64()`.
    ///
    /// Once the fence is published, it must be signaled in bounded time.
    ///
    /// # Context
    ///
    /// Any.
    #[inline]
    pub fn arm<T>(&mut self, fence: UnarmedDmaFence<T>) -> DriverDmaFence<T> {
        // OVERFLOW: A fence each nanosecond would take 584 years.
        self.seqno += 1;

        fence.arm(self.names.clone(), self.context, self.seqno)
    }

    /// Makes a fence, the last one on the timeline.
    ///
    /// For timelines that have one fence, this is a little faster. Otherwise, see
    /// [`arm`](Self::arm).
    #[inline]
    pub fn arm_last<T>(self, fence: UnarmedDmaFence<T>) -> DriverDmaFence<T> {
        fence.arm(self.names, self.context, self.seqno + 1)
    }
}

/// A fence that a Rust driver emits, and is to signal, with the driver's data `T`.
///
/// Use [`ARef::from`] to get a reference for others, who never see the data.
///
/// # Context
///
/// Dropping it signals the fence with [`ECANCELED`], as others may be waiting, and warns in the
/// kernel log, as it is too late to know that the hardware has let go of the memory. This runs
/// callbacks and drops `T`; the context is that of [`signal`](Self::signal).
///
/// Leaking it leaks the fence, which others then wait for in vain.
///
/// # Invariants
///
/// - `self.0` is an `Allocation<T>` whose fence is initialized and not signaled, and to which
///   `self` owns a reference. Nobody else can signal it: its operations have neither `signaled` nor
///   `enable_signaling`, and there is one `DriverDmaFence` for it.
/// - The data is initialized, pinned, and reached only through `self`.
#[must_use = "the fence is signaled with an error when it is dropped"]
pub struct DriverDmaFence<T = ()>(NonNull<Allocation<T>>);

// SAFETY: What is owned is a reference to a fence, which is `Send`, and a `T`.
unsafe impl<T: Send> Send for DriverDmaFence<T> {}

// SAFETY: What a shared reference gives access to is a fence, which is `Sync`, and a `T`.
unsafe impl<T: Sync> Sync for DriverDmaFence<T> {}

impl<T> DriverDmaFence<T> {
    /// Returns the driver's data.
    #[inline]
    pub fn data(&self) -> Pin<&T> {
        // SAFETY: By the type invariants, the data is initialized and pinned, and nobody has a
        // mutable reference to it.
        unsafe { Pin::new_unchecked(&(*self.0.as_ptr()).data) }
    }

    /// Signals the fence. Wraps `dma_fence_set_error()` and `dma_fence_signal()`.
    ///
    /// Runs the callbacks, wakes up waiters, drops the driver's data, and gives up the fence.
    /// `status` says how the work ended; commonly used errors are [`ENODATA`], [`ECANCELED`] and
    /// [`ETIME`].
    ///
    /// # Context
    ///
    /// Any in which `T` may be dropped, but not a callback of a fence, nor with a lock held that a
    /// callback of this one takes.
    #[inline]
    pub fn signal(self, status: Result) {
        let mut this = ManuallyDrop::new(self);

        // SAFETY: `this` is neither used nor dropped any more.
        unsafe { this.complete(status) };
    }

    /// Signals the fence, and gives up all that `self` owns.
    ///
    /// # Safety
    ///
    /// `self` must not be used any more.
    #[inline]
    unsafe fn complete(&mut self, status: Result) {
        let (fence, allocation) = (self.as_raw(), self.0.as_ptr());

        if let Err(error) = status {
            // SAFETY: `fence` is valid. By the type invariants it is not signaled and nobody else
            // can signal it. An `Error` is a valid errno.
            unsafe { bindings::dma_fence_set_error(fence, error.to_errno()) };
        }

        // SAFETY: `fence` is valid.
        unsafe { bindings::dma_fence_signal(fence) };

        // INVARIANT: The fence was signaled, and this is done once, as `self` is given up.
        // SAFETY: By the type invariants, the fence is in an `Emitted`, which owned its names until
        // now. C may still read them under RCU, which their memory outlasts.
        drop(ManuallyDrop::into_inner(unsafe {
            ptr::read(&raw const (*allocation.cast::<Emitted>()).names)
        }));

        // SAFETY: By the type invariants, the data is initialized, and nobody else reaches it. It
        // is not used any more, as `self` is given up.
        unsafe { ptr::drop_in_place(&raw mut (*allocation).data) };

        // SAFETY: By the type invariants, the reference is that of `self`, which is given up.
        unsafe { bindings::dma_fence_put(fence) };
    }
}

impl<T> Deref for DriverDmaFence<T> {
    type Target = DmaFence;

    #[inline]
    fn deref(&self) -> &DmaFence {
        // CAST: `Allocation` and `Emitted` are `repr(C)`, and start with the fence.
        // SAFETY: By the type invariants, the fence is initialized, and `self` has a reference.
        unsafe { self.0.cast().as_ref() }
    }
}

impl<T> Drop for DriverDmaFence<T> {
    #[cold]
    fn drop(&mut self) {
        warn_dropped(self);

        // SAFETY: `self` is dropped.
        unsafe { self.complete(Err(ECANCELED)) };
    }
}

/// Says that a driver dropped a fence that it had not signaled.
///
/// It is not generic, so that no driver has a copy of it.
#[cold]
fn warn_dropped(fence: &DmaFence) {
    // SAFETY: It may be called in any context.
    if unsafe { bindings::dma_fence_drop_ratelimit() } {
        let rcu = rcu::read_lock();
        pr_warn!(
            "dma_fence: {} {} {:#x}:{:#x} dropped before it was signaled\n",
            fence.driver_name(&rcu),
            fence.timeline_name(&rcu),
            fence.context(),
            fence.seqno()
        );
    }
}

/// A [`DriverDmaFence`] that is borrowed from where it is stored as a [`ForeignOwnable`].
///
/// # Invariants
///
/// For all of `'a`, the fence stays stored, and only shared references to it are made.
pub struct DriverDmaFenceRef<'a, T>(ManuallyDrop<DriverDmaFence<T>>, PhantomData<&'a T>);

impl<T> Deref for DriverDmaFenceRef<'_, T> {
    type Target = DriverDmaFence<T>;

    #[inline]
    fn deref(&self) -> &DriverDmaFence<T> {
        &self.0
    }
}

/// It can be stored where C keeps pointers, and be looked at there.
///
/// # Examples
///
/// The unsignaled fences of a client, by number:
///
/// ```
/// use kernel::dma_fence::DriverDmaFence;
/// # use kernel::dma_fence::{DmaFenceCtx, DmaFenceNames, UnarmedDmaFence};
/// use kernel::xarray::{
///     AllocKind,
///     XArray, //
/// };
///
/// let fences = KBox::pin_init(
///     XArray::<DriverDmaFence>::new(AllocKind::Alloc1),
///     GFP_KERNEL,
/// )?;
///
/// # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
/// # let fence = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
/// // Nobody has seen the fence, so it may be given up if there is no memory.
/// let number = match fences.alloc_cyclic(fence, 1..=u32::MAX, GFP_KERNEL) {
///     Ok(number) => number as usize,
///     Err(failed) => {
///         failed.value.signal(Err(ECANCELED));
///         return Err(failed.error);
///     }
/// };
/// assert!(!fences.lock().get(number).ok_or(ENOENT)?.is_signaled());
///
/// // Take it out under the lock, and signal it without.
/// let fence = fences.lock().remove(number);
/// fence.ok_or(ENOENT)?.signal(Ok(()));
/// # Ok::<(), Error>(())
/// ```
// SAFETY: The pointer is that of an `Allocation<T>`, which starts with a `DmaFence`, so it is not
// null, and at least as aligned as that.
unsafe impl<T> ForeignOwnable for DriverDmaFence<T> {
    const FOREIGN_ALIGN: usize = align_of::<DmaFence>();

    type Borrowed<'a>
        = DriverDmaFenceRef<'a, T>
    where
        Self: 'a;
    type BorrowedMut<'a>
        = DriverDmaFenceRef<'a, T>
    where
        Self: 'a;

    #[inline]
    fn into_foreign(self) -> *mut c_void {
        ManuallyDrop::new(self).0.as_ptr().cast()
    }

    #[inline]
    unsafe fn from_foreign(ptr: *mut c_void) -> Self {
        // INVARIANT: `into_foreign()` has consumed a `DriverDmaFence<T>`, of which this is done
        // once.
        // SAFETY: By the safety requirements, `ptr` comes from `into_foreign()`, so it is not null.
        Self(unsafe { NonNull::new_unchecked(ptr.cast()) })
    }

    #[inline]
    unsafe fn borrow<'a>(ptr: *mut c_void) -> DriverDmaFenceRef<'a, T>
    where
        Self: 'a,
    {
        // INVARIANT: By the safety requirements, the fence is not taken back within `'a`. What is
        // made here is neither dropped nor handed out but by shared reference.
        // SAFETY: By the safety requirements, `ptr` comes from `into_foreign()`.
        let fence = unsafe { Self::from_foreign(ptr) };
        DriverDmaFenceRef(ManuallyDrop::new(fence), PhantomData)
    }

    #[inline]
    unsafe fn borrow_mut<'a>(ptr: *mut c_void) -> DriverDmaFenceRef<'a, T>
    where
        Self: 'a,
    {
        // SAFETY: The safety requirements include those of `borrow()`.
        unsafe { Self::borrow(ptr) }
    }
}
