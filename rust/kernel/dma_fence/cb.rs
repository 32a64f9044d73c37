// SPDX-License-Identifier: GPL-2.0

//! Callbacks on fences.

use super::DmaFence;
use crate::{
    bindings, container_of,
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion, //
    },
    task::Task,
    types::Opaque,
    workqueue::{
        HasWork,
        Queue,
        Work,
        WorkItem, //
    },
};
use core::{
    ops::Deref,
    ptr, //
};
use pin_init::PinInit;

/// What is called when a fence is signalled.
///
/// It is implemented for what most users need, so look at the implementations before you write your
/// own.
///
/// As a registration can be leaked, what is called can't borrow anything.
///
/// # Safety
///
/// - [`call`](Self::call), and what it causes, must neither drop nor remove a [`DmaFenceCb`], nor
///   signal a fence, nor take a lock with which C asks fences for their state, as that of a DRM
///   sync object. With `CONFIG_SMP` that may be a deadlock, but without it, where such locks
///   exclude interrupts at most, C would go on with what was freed.
/// - A [`DmaFenceCb`] may be leaked, and the fence be signalled after the module was unloaded. So
///   what is called must be there forever, or see to it that this can't be: it may not be let out
///   of the module, for example.
/// - `FUNC` must be left as it is.
pub unsafe trait DmaFenceCbFunc: Sized + Send + Sync + 'static {
    /// What C calls.
    ///
    /// As it is, it is compiled for the module that registers the callback, and calls
    /// [`call`](Self::call).
    #[doc(hidden)]
    const FUNC: RawFunc = DmaFenceCb::<Self>::func;

    /// Called once, when the fence is signalled, with how it ended.
    ///
    /// # Context
    ///
    /// Atomic: the fence's lock is held, interrupts are off, and the thread may be any. So an
    /// implementation
    /// - must not sleep,
    /// - must not ask any fence for its state, wait for or signal one, or register a callback: each
    ///   needs a lock of the same class, and may deadlock; numbers, `Debug` and references are
    ///   fine,
    /// - gets a shared reference, so that nothing is dropped here.
    fn call(self: Pin<&Self>, status: Result);
}

/// The function of a `struct dma_fence_cb`.
type RawFunc = unsafe extern "C" fn(*mut bindings::dma_fence, *mut bindings::dma_fence_cb);

/// Completes all who wait for the [`Completion`]. C: `complete_all()`.
// SAFETY: `call()` does nothing to a fence. `FUNC` is in the kernel crate, which is never unloaded.
unsafe impl DmaFenceCbFunc for Arc<Completion> {
    const FUNC: RawFunc = complete_all;

    #[inline]
    fn call(self: Pin<&Self>, _status: Result) {
        self.complete_all();
    }
}

/// Wakes up the task, if it sleeps. C: `wake_up_process()`.
///
/// The task must expect to be woken for other reasons too, and look whether the fence is signalled.
// SAFETY: As for `Arc<Completion>`.
unsafe impl DmaFenceCbFunc for ARef<Task> {
    const FUNC: RawFunc = wake_up;

    #[inline]
    fn call(self: Pin<&Self>, _status: Result) {
        self.wake_up();
    }
}

/// Not inlined, nor generic, so that it is in the kernel crate, whoever uses it.
///
/// # Safety
///
/// To be called by C only, for what [`DmaFenceCb::new`] registered.
#[inline(never)]
unsafe extern "C" fn complete_all(
    fence: *mut bindings::dma_fence,
    cb: *mut bindings::dma_fence_cb,
) {
    // SAFETY: This is the `FUNC` of no other type.
    unsafe { DmaFenceCb::<Arc<Completion>>::func(fence, cb) };
}

/// See [`complete_all`].
///
/// # Safety
///
/// As for [`complete_all`].
#[inline(never)]
unsafe extern "C" fn wake_up(fence: *mut bindings::dma_fence, cb: *mut bindings::dma_fence_cb) {
    // SAFETY: This is the `FUNC` of no other type.
    unsafe { DmaFenceCb::<ARef<Task>>::func(fence, cb) };
}

/// Enqueues a work item when a fence is signalled, so that what follows can be done in a thread
/// that may sleep, unless it is one of bottom halves. C: `queue_work()`.
///
/// An item that is pending already stays so, and runs once. The [`DmaFenceCb`] keeps its own
/// reference to the item, which is therefore not dropped in atomic context by this.
///
/// As with any work item that is enqueued, the module that it is from must not be unloaded before
/// it has run.
///
/// # Examples
///
/// ```
/// use kernel::{
///     dma_fence::{
///         DmaFenceCb,
///         QueueWork, //
///     },
///     sync::{
///         aref::ARef,
///         Arc,
///         Completion, //
///     },
///     workqueue::{
///         self,
///         impl_has_work,
///         new_work,
///         Work,
///         WorkItem, //
///     },
/// };
/// # use kernel::dma_fence::{DmaFenceCtx, DmaFenceNames, UnarmedDmaFence};
///
/// #[pin_data]
/// struct Job {
///     #[pin]
///     work: Work<Self>,
///     #[pin]
///     done: Completion,
/// }
///
/// impl_has_work! {
///     impl HasWork<Self> for Job { self.work }
/// }
///
/// impl WorkItem for Job {
///     type Pointer = Arc<Self>;
///
///     fn run(this: Arc<Self>) {
///         this.done.complete_all();
///     }
/// }
///
/// # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
/// # let fence = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
/// let job = Arc::pin_init(
///     pin_init!(Job {
///         work <- new_work!("example"),
///         done <- Completion::new(),
///     }),
///     GFP_KERNEL,
/// )?;
///
/// let _cb = KBox::pin_init(
///     DmaFenceCb::new(
///         ARef::from(&*fence),
///         QueueWork::new(workqueue::system_unbound(), job.clone()),
///     ),
///     GFP_KERNEL,
/// )?;
///
/// fence.signal(Ok(()));
/// job.done.wait_for_completion();
/// # Ok::<(), Error>(())
/// ```
///
/// # Invariants
///
/// - `enqueue.work` is that of `work`.
/// - Unless `enqueue.done`, `self` owns another reference to what `work` is one to.
#[repr(C)]
pub struct QueueWork<T, const ID: u64 = 0> {
    enqueue: Enqueue,
    work: Arc<T>,
}

// SAFETY: What is in `enqueue` may be used in any thread, and an `Arc<T>` is sent along.
unsafe impl<T, const ID: u64> Send for QueueWork<T, ID> where Arc<T>: Send {}

// SAFETY: `enqueue` is not reached through a shared reference, but by C, once.
unsafe impl<T, const ID: u64> Sync for QueueWork<T, ID> where Arc<T>: Sync {}

impl<T, const ID: u64> QueueWork<T, ID>
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID> + Send + Sync + 'static,
{
    /// Creates what enqueues `work` on `queue`.
    #[inline]
    pub fn new(queue: &'static Queue, work: Arc<T>) -> Self {
        // The reference that is going to be enqueued.
        let item = Arc::into_raw(work.clone()).cast_mut();

        // INVARIANT: As `done` is false, `item` is the other reference.
        Self {
            enqueue: Enqueue {
                queue,
                // SAFETY: `item` is valid, and so is the work item in it.
                work: unsafe { Work::raw_get(T::raw_get_work(item)) },
                done: Atomic::new(false),
            },
            work,
        }
    }
}

impl<T, const ID: u64> QueueWork<T, ID> {
    /// Returns the work item.
    #[inline]
    pub fn work(&self) -> &Arc<T> {
        &self.work
    }
}

impl<T, const ID: u64> Drop for QueueWork<T, ID> {
    #[inline]
    fn drop(&mut self) {
        if !self.enqueue.done.load(Relaxed) {
            // SAFETY: By the type invariants, this is the other reference, which came from
            // `Arc::into_raw()`.
            drop(unsafe { Arc::from_raw(Arc::as_ptr(&self.work)) });
        }
    }
}

// SAFETY: `call()` does nothing to a fence. `FUNC` is in the kernel crate; that the module is there
// for what it enqueues is for whoever makes a work item to see to.
unsafe impl<T, const ID: u64> DmaFenceCbFunc for QueueWork<T, ID>
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID> + Send + Sync + 'static,
{
    const FUNC: RawFunc = enqueue;

    #[inline]
    fn call(self: Pin<&Self>, _status: Result) {
        // If the item is pending, the new reference comes back. It isn't the last one, as `self`
        // has another.
        let _ = self.enqueue.queue.enqueue::<Arc<T>, ID>(self.work.clone());
    }
}

/// See [`complete_all`].
///
/// # Safety
///
/// As for [`complete_all`].
#[inline(never)]
unsafe extern "C" fn enqueue(fence: *mut bindings::dma_fence, cb: *mut bindings::dma_fence_cb) {
    // SAFETY: This is the `FUNC` of `QueueWork` only. That is `repr(C)`, as is `DmaFenceCb`, and
    // starts with an `Enqueue`. So whatever `T` is, `cb` is where it would be in a
    // `DmaFenceCb<Enqueue>`.
    unsafe { DmaFenceCb::<Enqueue>::func(fence, cb) };
}

/// What a [`QueueWork`] does, whatever the item is in.
#[repr(C)]
struct Enqueue {
    queue: &'static Queue,
    work: *mut bindings::work_struct,
    /// The reference was given to the queue.
    done: Atomic<bool>,
}

// SAFETY: A work item may be enqueued in any thread.
unsafe impl Send for Enqueue {}

// SAFETY: As for `Send`.
unsafe impl Sync for Enqueue {}

// SAFETY: `call()` does nothing to a fence.
unsafe impl DmaFenceCbFunc for Enqueue {
    #[inline]
    fn call(self: Pin<&Self>, _status: Result) {
        // SAFETY:
        // - `Queue` is a transparent wrapper of `struct workqueue_struct`, and valid.
        // - `self` is in a `QueueWork`, whose item is valid. It owns a reference to it, to be given
        //   to the queue: C calls this once, and before the `QueueWork` is dropped.
        let done = unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                ptr::from_ref(self.queue).cast_mut().cast(),
                self.work,
            )
        };

        self.done.store(done, Relaxed);
    }
}

/// The error of [`DmaFenceCb::new`]: the fence is signalled already.
///
/// Gives back what was to be registered.
pub struct AlreadySignaled<T> {
    /// The fence that was to be waited for.
    pub fence: ARef<DmaFence>,
    /// The data of the callback, which has not been called.
    pub data: T,
}

impl<T> From<AlreadySignaled<T>> for Error {
    #[inline]
    fn from(_: AlreadySignaled<T>) -> Self {
        ENOENT
    }
}

/// A callback that is registered on a fence.
///
/// Dropping it takes the callback off the fence, or waits until it has run. So it may be dropped in
/// any context, but not from the callback itself, nor with a lock held that the callback takes.
/// Leaking it leaves the callback registered.
///
/// # Invariants
///
/// `self.cb` was registered on `self.fence`, with `T::FUNC`, while `self` was at the place
/// where it is. It is valid there until it is dropped, or forever.
///
/// # Examples
///
/// ```
/// use kernel::dma_fence::{
///     DmaFenceCb,
///     DmaFenceCtx,
///     DmaFenceNames,
///     UnarmedDmaFence, //
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
/// let _cb = KBox::pin_init(
///     DmaFenceCb::new(ARef::from(&*fence), done.clone()),
///     GFP_KERNEL,
/// )?;
///
/// fence.signal(Ok(()));
/// done.wait_for_completion();
/// # Ok::<(), Error>(())
/// ```
#[must_use = "the callback is taken off the fence when this is dropped"]
#[pin_data(PinnedDrop)]
#[repr(C)]
pub struct DmaFenceCb<T: DmaFenceCbFunc> {
    #[pin]
    cb: Opaque<bindings::dma_fence_cb>,
    fence: ARef<DmaFence>,
    #[pin]
    data: T,
}

// SAFETY: The callback may be taken off in any thread, and `T` is `Send`.
unsafe impl<T: DmaFenceCbFunc> Send for DmaFenceCb<T> {}

// SAFETY: Nothing but `&DmaFence` and `&T` can be had from a shared reference, and both are `Sync`.
unsafe impl<T: DmaFenceCbFunc> Sync for DmaFenceCb<T> {}

impl<T: DmaFenceCbFunc> DmaFenceCb<T> {
    /// Returns an initialiser that registers a callback on `fence`.
    ///
    /// To split what may fail from what may not, allocate first and use
    /// [`InPlaceWrite::write_pin_init`].
    ///
    /// May be used in any context, but not from a callback of `fence`. C:
    /// `dma_fence_add_callback()`.
    ///
    /// # Errors
    ///
    /// [`AlreadySignaled`], i.e. [`ENOENT`], if the fence is signalled. Then the callback is not
    /// called.
    #[inline]
    pub fn new(fence: ARef<DmaFence>, data: T) -> impl PinInit<Self, AlreadySignaled<T>> {
        let init = move |slot: *mut Self| {
            // SAFETY: `slot` is valid for writes. The callback may run as soon as it is registered,
            // so all that it reads is written first.
            unsafe {
                (&raw mut (*slot).fence).write(fence);
                (&raw mut (*slot).data).write(data);
            }

            // SAFETY: `slot` was written above.
            let fence = unsafe { &(*slot).fence };

            // SAFETY:
            // - `fence` is valid, and stays so while `slot` owns a reference.
            // - `cb` is pinned, and `drop()` takes it off the fence before its memory goes.
            //
            // INVARIANT: The callback is registered at its final place.
            let ret = unsafe {
                bindings::dma_fence_add_callback(
                    fence.as_raw(),
                    Opaque::cast_into(&raw const (*slot).cb),
                    Some(T::FUNC),
                )
            };

            if ret != 0 {
                // SAFETY: Both were written above and are moved out once, as nothing is dropped in
                // a `slot` whose initialisation fails. The callback is not registered, so nobody
                // else has seen them.
                return Err(unsafe {
                    AlreadySignaled {
                        fence: ptr::read(&raw const (*slot).fence),
                        data: ptr::read(&raw const (*slot).data),
                    }
                });
            }

            Ok(())
        };

        // SAFETY: `init` initialises `slot` if it returns `Ok`, and leaves nothing in it to be
        // dropped if it returns `Err`.
        unsafe { pin_init::pin_init_from_closure(init) }
    }

    /// Returns the fence that the callback is registered on.
    #[inline]
    pub fn fence(&self) -> &DmaFence {
        &self.fence
    }

    /// Takes the callback off the fence, and returns whether it was still there.
    ///
    /// If this returns `true`, the callback was not called and won't be. If it returns `false`,
    /// either the callback has run, to its end, or another call of this has taken it off.
    ///
    /// May be called in any context, but not from the callback itself, nor with a lock held that
    /// the callback takes. C: `dma_fence_remove_callback()`.
    #[inline]
    pub fn remove(&self) -> bool {
        // SAFETY: By the type invariant, `cb` was registered on `fence`. That it may have been
        // taken off since makes no difference, as C then finds it on no list.
        unsafe { bindings::dma_fence_remove_callback(self.fence.as_raw(), self.cb.get()) }
    }

    /// # Safety
    ///
    /// To be called by C only, for a `cb` that [`DmaFenceCb::new`] registered on `fence`.
    unsafe extern "C" fn func(fence: *mut bindings::dma_fence, cb: *mut bindings::dma_fence_cb) {
        // SAFETY: By the safety requirements, `cb` is in a `Self`. It stays valid until this
        // returns: `drop()` takes the lock that C holds now, and `call()` does not drop it by the
        // safety requirements of `DmaFenceCbFunc`.
        let this = unsafe { &*container_of!(Opaque::cast_from(cb), Self, cb) };

        // SAFETY: `fence` is valid. Its error is set before it is signalled, and never after.
        let status = to_result(unsafe { (*fence).error });

        // SAFETY: `data` is pinned with `this`.
        unsafe { Pin::new_unchecked(&this.data) }.call(status);
    }
}

impl<T: DmaFenceCbFunc> Deref for DmaFenceCb<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

#[pinned_drop]
impl<T: DmaFenceCbFunc> PinnedDrop for DmaFenceCb<T> {
    #[inline]
    fn drop(self: Pin<&mut Self>) {
        // Even after the callback was called: it may still be running, and this takes its lock.
        self.remove();
    }
}
