// SPDX-License-Identifier: GPL-2.0

//! Callbacks on fences.

use super::DmaFence;
use crate::{
    alloc::Flags,
    bindings, container_of,
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Completion, //
    },
    task::Task,
    types::Opaque,
    workqueue::{
        HasWork,
        OwnedQueue,
        WeakQueue,
        WorkItem, //
    },
};
use core::{
    mem::ManuallyDrop,
    ptr, //
};
use pin_init::PinInit;

/// A function that is called when a fence is signaled, and its data.
///
/// Most drivers need not implement it: the implementations for [`Arc<Completion>`], [`ARef<Task>`]
/// and [`QueueWork`] are safe to use.
///
/// A registration can be leaked, so the data can't borrow anything.
///
/// # Safety
///
/// - [`call`](Self::call), and what it causes, must neither drop nor remove a [`DmaFenceCb`], nor
///   signal a fence, nor take a lock under which C queries fences, like that of a DRM sync object.
///   With `CONFIG_SMP` this may deadlock. Without it such locks exclude nothing but interrupts, and
///   C would go on with memory that was freed.
/// - If a [`DmaFenceCb`] is leaked, the fence may be signaled after the module was unloaded. So
///   either the function is never unloaded, or the [`DmaFenceCb`] can't be leaked, e.g. because the
///   module does not let it out.
/// - `FUNC` must be left as it is.
pub unsafe trait DmaFenceCbFunc: Sized + Send + Sync + 'static {
    /// The function that C calls.
    ///
    /// The default is compiled for the module that registers the callback.
    #[doc(hidden)]
    const FUNC: RawFunc = func::<Self>;

    /// Called once, when the fence is signaled, with the status that it was signaled with.
    ///
    /// # Context
    ///
    /// Atomic: the fence's lock is held, interrupts are off, and the thread may be any. So an
    /// implementation
    /// - must not sleep,
    /// - must not query, wait for or signal any fence, or register a callback: each takes a lock of
    ///   the same class, and may deadlock; numbers, `Debug` and references are fine,
    /// - gets a shared reference, so that nothing is dropped here.
    fn call(self: Pin<&Self>, status: Result);
}

/// The function of a `struct dma_fence_cb`.
type RawFunc = unsafe extern "C" fn(*mut bindings::dma_fence, *mut bindings::dma_fence_cb);

/// # Safety
///
/// Only C may call this, for a `cb` that [`UnarmedDmaFenceCb::register`] registered on `fence`.
unsafe extern "C" fn func<T: DmaFenceCbFunc>(
    fence: *mut bindings::dma_fence,
    cb: *mut bindings::dma_fence_cb,
) {
    // SAFETY: By the safety requirements, `cb` is in an `Inner<T>`. That is valid until this
    // returns: what frees it takes the lock that C holds now, and `call()` does not free it by the
    // safety requirements of `DmaFenceCbFunc`.
    let this = unsafe { &*container_of!(Opaque::cast_from(cb), Inner<T>, cb) };

    // A driver may set the error late, against the rules, so this may race.
    //
    // SAFETY: `fence` is valid.
    let status = to_result(unsafe { (&raw const (*fence).error).read_volatile() });

    // SAFETY: `this` is pinned.
    unsafe { Pin::new_unchecked(&this.data) }.call(status);
}

/// Completes the [`Completion`] for all that wait for it. Wraps `complete_all()`.
///
/// To wait for one fence, use [`DmaFence::wait`]. Lockdep knows that as a wait for a fence, and
/// reports locks that must not be held then. It does not know that waiting for the completion is
/// one, too.
// SAFETY: `call()` does nothing to a fence. `FUNC` is in the kernel crate, which is never unloaded.
unsafe impl DmaFenceCbFunc for Arc<Completion> {
    const FUNC: RawFunc = complete_all;

    #[inline]
    fn call(self: Pin<&Self>, _status: Result) {
        self.complete_all();
    }
}

/// Wakes up the task, if it sleeps. Wraps `wake_up_process()`.
///
/// The task must expect to be woken for other reasons too, and check whether the fence is signaled.
/// As with a [`Completion`], lockdep does not know that it waits for a fence.
// SAFETY: As for `Arc<Completion>`.
unsafe impl DmaFenceCbFunc for ARef<Task> {
    const FUNC: RawFunc = wake_up;

    #[inline]
    fn call(self: Pin<&Self>, _status: Result) {
        self.wake_up();
    }
}

/// Neither inlined nor generic, so that it is in the kernel crate, whichever module uses it.
///
/// # Safety
///
/// As for [`func`], with a callback whose data is an `Arc<Completion>`.
#[inline(never)]
unsafe extern "C" fn complete_all(
    fence: *mut bindings::dma_fence,
    cb: *mut bindings::dma_fence_cb,
) {
    // SAFETY: By the safety requirements.
    unsafe { func::<Arc<Completion>>(fence, cb) };
}

/// As [`complete_all`].
///
/// # Safety
///
/// As for [`func`], with a callback whose data is an `ARef<Task>`.
#[inline(never)]
unsafe extern "C" fn wake_up(fence: *mut bindings::dma_fence, cb: *mut bindings::dma_fence_cb) {
    // SAFETY: By the safety requirements.
    unsafe { func::<ARef<Task>>(fence, cb) };
}

/// Enqueues a work item when a fence is signaled, for what has to be done in a thread. Wraps
/// `queue_work()`.
///
/// An item that is pending already stays so, and runs once. The data of the callback keeps a
/// reference to the item, so the item is not dropped in atomic context.
///
/// It keeps no reference to the queue, and does nothing once that was dropped. So a driver that
/// drops the queue before it is unloaded may leak the callback. Otherwise it must not: if the item
/// owns the queue, that is leaked with the callback, and if the queue is another module's, it
/// stays. The item's module must not be unloaded then.
///
/// # Context
///
/// Dropping it drops a reference to the item, in any context in which that may be dropped.
///
/// # Examples
///
/// A queue of jobs, each of which waits for a fence:
///
/// ```
/// use kernel::{
///     dma_fence::{
///         signalling,
///         DmaFenceCb,
///         QueueWork,
///         UnarmedDmaFenceCb, //
///     },
///     sync::{
///         aref::ARef,
///         new_spinlock,
///         Arc,
///         Completion,
///         SpinLock, //
///     },
///     workqueue::{
///         impl_has_work,
///         new_work,
///         Queue,
///         Work,
///         WorkItem, //
///     },
/// };
/// # use kernel::dma_fence::{DmaFenceCtx, DmaFenceNames, UnarmedDmaFence};
///
/// struct Job {
///     dependency: DmaFenceCb<QueueWork<JobQueue>>,
/// }
///
/// #[pin_data]
/// struct JobQueue {
///     #[pin]
///     work: Work<Self>,
///     #[pin]
///     jobs: SpinLock<KVec<Job>>,
///     #[pin]
///     done: Completion,
/// }
///
/// impl_has_work! {
///     impl HasWork<Self> for JobQueue { self.work }
/// }
///
/// impl WorkItem for JobQueue {
///     type Pointer = Arc<Self>;
///
///     fn run(this: Arc<Self>) {
///         // The callbacks keep the queue, so it has to let go of them. A job is taken out with
///         // the lock held, and dropped without it. Fences of jobs are signaled here, so nothing
///         // may wait for memory, or for a lock with which others do.
///         signalling(|| loop {
///             let mut jobs = this.jobs.lock();
///             let signaled = |job: &Job| job.dependency.fence().is_signaled();
///             let done = jobs.iter().position(signaled).map(|i| jobs.remove(i));
///             drop(jobs);
///
///             if done.is_none() {
///                 break;
///             }
///         });
///         if this.jobs.lock().is_empty() {
///             this.done.complete_all();
///         }
///     }
/// }
///
/// # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
/// # let fence = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
/// let room = KVec::with_capacity(1, GFP_KERNEL)?;
/// let queue = Arc::pin_init(
///     pin_init!(JobQueue {
///         work <- new_work!("example"),
///         jobs <- new_spinlock!(room),
///         done <- Completion::new(),
///     }),
///     GFP_KERNEL,
/// )?;
///
/// // It is drained when it is dropped. With `mem_reclaim()`, as fences depend on it.
/// let workqueue = Queue::new_unbound().mem_reclaim().build(fmt!("example"))?;
///
/// // All that can fail for want of memory comes first.
/// let requeue = QueueWork::new(&workqueue, queue.clone());
/// let cb = UnarmedDmaFenceCb::new(requeue, GFP_KERNEL)?;
///
/// let mut jobs = queue.jobs.lock();
/// let signaled = match cb.register(ARef::from(&*fence)) {
///     Ok(dependency) => {
///         jobs.push_within_capacity(Job { dependency })?;
///         None
///     }
///     // There is nothing to wait for.
///     Err(signaled) => {
///         queue.done.complete_all();
///         Some(signaled)
///     }
/// };
/// drop(jobs);
/// drop(signaled);
///
/// fence.signal(Ok(()));
/// queue.done.wait_for_completion();
/// assert!(queue.jobs.lock().is_empty());
/// # Ok::<(), Error>(())
/// ```
// The beginning of it does not depend on `T`, as `queue_work()` does not know that.
#[repr(C)]
pub struct QueueWork<T, const ID: u64 = 0> {
    target: QueueTarget,
    work: Arc<T>,
}

/// Where a [`QueueWork`] enqueues its item.
struct QueueTarget {
    queue: WeakQueue,
    /// To be called only while `queue` is there.
    func: RawFunc,
}

impl<T, const ID: u64> QueueWork<T, ID> {
    /// Creates callback data that enqueues `work` on `queue`, as long as that is there.
    #[inline]
    pub fn new(queue: &OwnedQueue, work: Arc<T>) -> Self
    where
        Self: DmaFenceCbFunc,
    {
        const {
            assert!(
                core::mem::offset_of!(Inner<Self>, data)
                    == core::mem::offset_of!(Inner<QueueTarget>, data)
            )
        };

        Self {
            target: QueueTarget {
                queue: queue.downgrade(),
                func: func::<Self>,
            },
            work,
        }
    }
}

/// As [`complete_all`]. It also keeps the queue until the item is enqueued, and with it the module
/// of the item, which the queue waits for when it is dropped.
///
/// # Safety
///
/// As for [`func`], with a callback whose data is a [`QueueWork`].
#[inline(never)]
unsafe extern "C" fn queue_work(fence: *mut bindings::dma_fence, cb: *mut bindings::dma_fence_cb) {
    // SAFETY: By the safety requirements, `cb` is in an `Inner<QueueWork<_>>`, which is valid as in
    // `func()`. All of these are `repr(C)`, so a `QueueWork` begins with its `QueueTarget`, and
    // `QueueWork::new()` checks that the data is at the same offset in both `Inner`s.
    let target = unsafe { &(*container_of!(Opaque::cast_from(cb), Inner<QueueTarget>, cb)).data };

    // SAFETY: By the safety requirements, and `func` is that of the data's type.
    target.queue.with(|_| unsafe { (target.func)(fence, cb) });
}

// SAFETY:
// - `call()` does nothing to a fence.
// - `FUNC` is in the kernel crate. It reaches memory that the callback owns, and what is in the
//   module only while the queue is there. By the documentation of `QueueWork`, the queue is dropped
//   before the module of the item is unloaded, or the callback is not leaked.
unsafe impl<T, const ID: u64> DmaFenceCbFunc for QueueWork<T, ID>
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID> + Send + Sync + 'static,
{
    const FUNC: RawFunc = queue_work;

    #[inline]
    fn call(self: Pin<&Self>, _status: Result) {
        // If the item is pending, the new reference comes back. It isn't the last one, as `self`
        // has another.
        self.target
            .queue
            .with(|queue| drop(queue.enqueue::<Arc<T>, ID>(self.work.clone())));
    }
}

/// The allocation of a callback.
#[pin_data]
#[repr(C)]
struct Inner<T> {
    #[pin]
    cb: Opaque<bindings::dma_fence_cb>,
    #[pin]
    data: T,
}

// SAFETY: Any thread may register a callback or take it off, which is all that is done with `cb`.
unsafe impl<T: Send> Send for Inner<T> {}

// SAFETY: As for `Send`; C protects `cb` by the fence's lock.
unsafe impl<T: Sync> Sync for Inner<T> {}

/// The memory of a callback, with its data `T`.
///
/// Allocate it before the point of no return, and [register](Self::register) it after. It comes
/// back if the fence is signaled already, and when the callback is [removed](DmaFenceCb::remove),
/// and can be registered again.
///
/// # Context
///
/// Dropping it drops `T` and frees the memory, in any context in which `T` may be dropped.
#[must_use = "a callback has to be registered to be of use"]
pub struct UnarmedDmaFenceCb<T>(Pin<KBox<Inner<T>>>);

impl<T> UnarmedDmaFenceCb<T> {
    /// Allocates a callback, and initializes its data in place.
    ///
    /// # Context
    ///
    /// May sleep where `flags` allow it. Must not be called between the publication and the
    /// signaling of a fence, unless with [`GFP_ATOMIC`] or [`GFP_NOWAIT`].
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if there is no memory, or the error of `data`.
    ///
    /// [`GFP_ATOMIC`]: crate::alloc::flags::GFP_ATOMIC
    /// [`GFP_NOWAIT`]: crate::alloc::flags::GFP_NOWAIT
    #[inline]
    pub fn new<E>(data: impl PinInit<T, E>, flags: Flags) -> Result<Self>
    where
        Error: From<E>,
    {
        Ok(Self(KBox::pin_init(
            pin_init!(Inner {
                cb: Opaque::uninit(),
                data <- data,
            }? E),
            flags,
        )?))
    }

    /// Returns the data.
    #[inline]
    pub fn data(&self) -> Pin<&T> {
        // SAFETY: `data` is pinned, as the allocation is.
        unsafe { self.0.as_ref().map_unchecked(|inner| &inner.data) }
    }

    /// Frees the memory, and returns the data.
    #[inline]
    pub fn take(self) -> T
    where
        T: Unpin,
    {
        // SAFETY: The callback is not registered, so `cb` may be moved, and `T` is `Unpin`.
        KBox::into_inner(unsafe { Pin::into_inner_unchecked(self.0) }).data
    }

    /// Registers the callback on `fence`. Wraps `dma_fence_add_callback()`.
    ///
    /// # Context
    ///
    /// Any, but not a callback of a fence, nor with a lock held that a callback of `fence` takes:
    /// the fence may be found to be signaled.
    ///
    /// # Errors
    ///
    /// [`AlreadySignaled`], i.e. [`ENOENT`], if the fence is signaled. The callback is not called
    /// then.
    #[inline]
    pub fn register(self, fence: ARef<DmaFence>) -> Result<DmaFenceCb<T>, AlreadySignaled<T>>
    where
        T: DmaFenceCbFunc,
    {
        // By way of the field, as `FUNC` gets from there to the whole `Inner<T>`.
        let cb = Opaque::cast_into(&raw const self.0.cb);
        // SAFETY:
        // - `fence` is valid, and stays so while it is owned.
        // - `cb` is pinned, and in an `Inner<T>`. `DmaFenceCb` takes it off the fence before it is
        //   freed.
        let ret = unsafe { bindings::dma_fence_add_callback(fence.as_raw(), cb, Some(T::FUNC)) };

        if ret != 0 {
            return Err(AlreadySignaled { cb: self, fence });
        }

        // INVARIANT: The callback was just registered.
        Ok(DmaFenceCb { cb: self, fence })
    }
}

/// The error of [`UnarmedDmaFenceCb::register`]: the fence is signaled already.
///
/// Gives back what was to be registered.
pub struct AlreadySignaled<T> {
    /// The callback, which was not called.
    pub cb: UnarmedDmaFenceCb<T>,
    /// The fence.
    pub fence: ARef<DmaFence>,
}

/// [`ENOENT`].
impl<T> From<AlreadySignaled<T>> for Error {
    #[inline]
    fn from(_: AlreadySignaled<T>) -> Self {
        ENOENT
    }
}

/// A callback that is registered on a fence.
///
/// It keeps its data until it is dropped, also after it was called. So a work item or a driver's
/// object that stores a callback which refers to the object itself is a reference cycle: take the
/// callback out in time, as the example of [`QueueWork`] does.
///
/// # Context
///
/// Dropping it takes the callback off the fence, or waits until it has run, and then drops the
/// data. It may be dropped in any context in which `T` may be dropped, but not in a callback of a
/// fence, nor with a lock held that its callback takes. Leaking it leaves the callback registered.
///
/// # Invariants
///
/// `self.cb` was registered on `self.fence`, with `T::FUNC`. It may have been called since.
///
/// # Examples
///
/// ```
/// use kernel::dma_fence::{
///     DmaFenceCtx,
///     DmaFenceNames,
///     UnarmedDmaFence,
///     UnarmedDmaFenceCb, //
/// };
/// use kernel::sync::{
///     aref::ARef,
///     Arc,
///     Completion, //
/// };
///
/// # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
/// # let fence = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
/// let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
/// let cb = UnarmedDmaFenceCb::new(done.clone(), GFP_KERNEL)?;
/// let cb = cb.register(ARef::from(&*fence))?;
///
/// fence.signal(Ok(()));
/// done.wait_for_completion();
///
/// let (cb, called) = cb.remove();
/// assert!(called);
/// assert!(Arc::ptr_eq(&cb.take(), &done));
/// # Ok::<(), Error>(())
/// ```
#[must_use = "the callback is taken off the fence when this is dropped"]
pub struct DmaFenceCb<T> {
    cb: UnarmedDmaFenceCb<T>,
    fence: ARef<DmaFence>,
}

impl<T> DmaFenceCb<T> {
    /// Returns the fence that the callback is registered on.
    #[inline]
    pub fn fence(&self) -> &DmaFence {
        &self.fence
    }

    /// Returns the data.
    #[inline]
    pub fn data(&self) -> Pin<&T> {
        self.cb.data()
    }

    /// Takes the callback off the fence, and returns its memory and whether it was called. Wraps
    /// `dma_fence_remove_callback()`.
    ///
    /// If it was called, it has returned. If it was not, it won't be.
    ///
    /// # Context
    ///
    /// Any, but not a callback of a fence, nor with a lock held that this callback takes.
    #[inline]
    pub fn remove(self) -> (UnarmedDmaFenceCb<T>, bool) {
        let this = ManuallyDrop::new(self);
        let called = !this.remove_raw();

        // SAFETY: Both are read once, as `this` is neither used nor dropped any more.
        let (cb, fence) = unsafe { (ptr::read(&this.cb), ptr::read(&this.fence)) };
        drop(fence);

        (cb, called)
    }

    /// Returns whether the callback was still registered. When this returns, it is not, and does
    /// not run.
    #[inline]
    fn remove_raw(&self) -> bool {
        // SAFETY: By the type invariant, `cb` was registered on `fence`. If it was called, C finds
        // it on no list. If the fence's lock is an external one, its issuer has to keep that for as
        // long as the fence, see `dma_fence_init()`.
        unsafe { bindings::dma_fence_remove_callback(self.fence.as_raw(), self.cb.0.cb.get()) }
    }
}

impl<T> Drop for DmaFenceCb<T> {
    #[inline]
    fn drop(&mut self) {
        // Even if it was called: it may still be running, and this takes the lock.
        self.remove_raw();
    }
}
