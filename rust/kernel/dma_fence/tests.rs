// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of DMA fences.

use super::*;
use crate::{
    macros::kunit_tests,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        new_condvar,
        new_mutex,
        new_spinlock_irq,
        rcu,
        Arc,
        Completion,
        CondVarTimeoutResult,
        SpinLockIrq, //
    },
    task::Task,
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta, //
    },
    workqueue::{
        self,
        impl_has_work,
        new_work,
        OwnedQueue,
        Queue,
        Work,
        WorkItem, //
    },
};
use core::mem::ManuallyDrop;

#[cfg(CONFIG_SYNC_FILE)]
use crate::fs::file::FileDescriptorReservation;

pub(super) fn ctx() -> Result<DmaFenceCtx> {
    Ok(DmaFenceCtx::new(DmaFenceNames::new(c"kunit", c"timeline")?))
}

pub(super) fn fence(ctx: &mut DmaFenceCtx) -> Result<(DriverDmaFence, ARef<DmaFence>)> {
    let fence = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
    let shared = ARef::from(&*fence);

    Ok((fence, shared))
}

/// Counts its calls, and keeps the errno of the last one.
pub(super) struct Count {
    pub(super) calls: Atomic<i32>,
    pub(super) errno: Atomic<i32>,
}

impl Count {
    pub(super) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                calls: Atomic::new(0),
                errno: Atomic::new(0),
            },
            GFP_KERNEL,
        )?)
    }
}

// SAFETY: `call()` does nothing to a fence.
unsafe impl DmaFenceCbFunc for Arc<Count> {
    fn call(self: Pin<&Self>, status: Result) {
        self.calls.store(self.calls.load(Relaxed) + 1, Relaxed);
        if let Err(e) = status {
            self.errno.store(e.to_errno(), Relaxed);
        }
    }
}

/// Registers a callback that counts.
pub(super) fn register(
    fence: ARef<DmaFence>,
    count: &Arc<Count>,
) -> Result<DmaFenceCb<Arc<Count>>> {
    Ok(UnarmedDmaFenceCb::new(count.clone(), GFP_KERNEL)?.register(fence)?)
}

/// Keeps the errno of its call, with a lock, and the address at which it was made.
#[pin_data]
struct Locked {
    address: usize,
    #[pin]
    status: SpinLockIrq<Option<i32>>,
}

// SAFETY: `call()` does nothing to a fence.
unsafe impl DmaFenceCbFunc for Locked {
    fn call(self: Pin<&Self>, status: Result) {
        *self.status.lock() = Some(status.err().map_or(0, Error::to_errno));
    }
}

/// Looks how often the driver's data was dropped when it is called.
struct Look {
    data: Arc<Count>,
    drops: Atomic<i32>,
}

// SAFETY: `call()` does nothing to a fence.
unsafe impl DmaFenceCbFunc for Look {
    fn call(self: Pin<&Self>, _status: Result) {
        self.drops.store(self.data.calls.load(Relaxed), Relaxed);
    }
}

#[pin_data]
pub(super) struct Item {
    #[pin]
    work: Work<Self>,
    runs: Atomic<i32>,
}

impl Item {
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                work <- new_work!("rust_dma_fence"),
                runs: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }
}

pub(super) fn queue() -> Result<OwnedQueue> {
    let queue = Queue::new_unbound().mem_reclaim();

    Ok(queue.build(fmt!("rust_dma_fence"))?)
}

impl_has_work! {
    impl HasWork<Self> for Item { self.work }
}

impl WorkItem for Item {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        // Long enough that it has not run yet unless the queue was waited for.
        fsleep(Delta::from_millis(1));
        this.runs.fetch_add(1, Relaxed);
    }
}

/// Data of a driver that counts how often it is dropped, and keeps its first address.
#[pin_data(PinnedDrop)]
struct Data {
    address: usize,
    count: Arc<Count>,
}

impl Data {
    fn new(count: &Arc<Count>) -> impl PinInit<Self> {
        let count = count.clone();
        pin_init!(&this in Self {
            address: this.as_ptr().addr(),
            count,
        })
    }

    fn is_in_place(self: Pin<&Self>) -> bool {
        core::ptr::from_ref(&*self).addr() == self.address
    }
}

#[pinned_drop]
impl PinnedDrop for Data {
    fn drop(self: Pin<&mut Self>) {
        let calls = &self.count.calls;
        calls.store(calls.load(Relaxed) + 1, Relaxed);
    }
}

#[kunit_tests(rust_dma_fence)]
mod suite {
    use super::*;
    use crate::types::ForeignOwnable;

    #[test]
    fn signal_ok() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        assert!(!shared.is_signaled());
        assert!(shared.status().is_none());

        fence.signal(Ok(()));

        assert!(shared.is_signaled());
        assert!(matches!(shared.status(), Some(Ok(()))));

        Ok(())
    }

    #[test]
    fn signal_error() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        fence.signal(Err(ENODATA));

        assert!(shared.status() == Some(Err(ENODATA)));

        Ok(())
    }

    // Each reference is counted, and the driver's is given up with the signal.
    #[test]
    fn references() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        // SAFETY: The fence is valid.
        let count = || unsafe { (*shared.as_raw()).refcount.refcount.refs.counter };
        assert_eq!(count(), 2);

        let another = shared.clone();
        assert_eq!(count(), 3);
        let cb = register(another, &Count::new()?)?;
        assert_eq!(count(), 3);
        drop(cb);
        assert_eq!(count(), 2);
        drop(register(shared.clone(), &Count::new()?)?.remove());
        assert_eq!(count(), 2);

        fence.signal(Ok(()));
        assert_eq!(count(), 1);

        Ok(())
    }

    #[test]
    fn timestamp() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        assert!(shared.timestamp().is_none());

        let before = Instant::<Monotonic>::now();
        fence.signal(Ok(()));
        let after = Instant::<Monotonic>::now();

        let timestamp = shared.timestamp().ok_or(EINVAL)?;
        assert!(!(timestamp - before).is_negative());
        assert!(!(after - timestamp).is_negative());

        Ok(())
    }

    // Some drivers write the time only after the fence is signaled. This does not wait for it.
    #[test]
    fn timestamp_late() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        fence.signal(Ok(()));

        // SAFETY: The fence is valid. No other thread knows it.
        let flags = unsafe { &mut (*shared.as_raw()).flags };
        let bit = 1 << bindings::dma_fence_flag_bits_DMA_FENCE_FLAG_TIMESTAMP_BIT;
        assert!(*flags & bit != 0);
        *flags &= !bit;
        assert!(shared.timestamp().is_none());
        *flags |= bit;
        assert!(shared.timestamp().is_some());

        Ok(())
    }

    #[test]
    fn debug() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let print = || CString::try_from_fmt(fmt!("{:?}", &*shared));
        let expect = |signaled: bool| {
            CString::try_from_fmt(fmt!(
                "DmaFence {{ context: {:#x}, seqno: 0x1, signaled: {} }}",
                shared.context(),
                signaled
            ))
        };

        assert!(*print()? == *expect(false)?);
        fence.signal(Ok(()));
        assert!(*print()? == *expect(true)?);

        Ok(())
    }

    #[test]
    fn drop_unsignaled() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        drop(fence);

        assert!(shared.status() == Some(Err(ECANCELED)));
        // SAFETY: The fence is valid.
        let count = unsafe { (*shared.as_raw()).refcount.refcount.refs.counter };
        assert_eq!(count, 1);

        Ok(())
    }

    // A fence has its own lock, and no `release`, so C drops its operations when it is signaled.
    #[test]
    fn independent() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let bit = 1 << bindings::dma_fence_flag_bits_DMA_FENCE_FLAG_INLINE_LOCK_BIT;

        // SAFETY: The fence is valid.
        assert!(unsafe { (*shared.as_raw()).flags } & bit != 0);
        fence.signal(Ok(()));
        // SAFETY: As above. Nobody else signals the fence.
        assert!(unsafe { (*shared.as_raw()).ops }.is_null());

        Ok(())
    }

    #[test]
    fn drop_unarmed() -> Result {
        let mut ctx = ctx()?;
        drop(UnarmedDmaFence::new(GFP_KERNEL)?);
        let (fence, _) = fence(&mut ctx)?;

        // A fence that was never armed leaves no gap.
        assert_eq!(fence.seqno(), 1);
        fence.signal(Ok(()));

        Ok(())
    }

    #[test]
    fn leak() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        // As good as `forget()`, except that it is taken back in the end.
        let fence = ManuallyDrop::new(fence);

        assert!(!shared.is_signaled());
        assert!(shared.timeline_name(&rcu::read_lock()) == c"timeline");

        ManuallyDrop::into_inner(fence).signal(Ok(()));

        Ok(())
    }

    #[test]
    fn order() -> Result {
        let mut a = ctx()?;
        let mut b = ctx()?;
        let (a1, _) = fence(&mut a)?;
        let (b1, _) = fence(&mut b)?;
        let (a2, _) = fence(&mut a)?;

        assert_eq!(a1.context(), a.context());
        assert_eq!(a1.context(), a2.context());
        assert!(a1.context() != b1.context());
        assert_eq!(a1.seqno(), 1);
        assert_eq!(a2.seqno(), 2);
        assert_eq!(b1.seqno(), 1);

        assert_eq!(a2.is_later_than(&a1), Some(true));
        assert_eq!(a1.is_later_than(&a2), Some(false));
        assert_eq!(a1.is_later_than(&a1), Some(false));
        assert_eq!(a2.is_later_than(&b1), None);

        // All 64 bits of the numbers count.
        let context = a.context();
        a.seqno = u32::MAX.into();
        let (a3, _) = fence(&mut a)?;
        let a4 = a.arm_last(UnarmedDmaFence::new(GFP_KERNEL)?);
        assert_eq!((a3.context(), a3.seqno()), (context, 1 << 32));
        assert_eq!((a4.context(), a4.seqno()), (context, (1 << 32) + 1));
        assert_eq!(a3.is_later_than(&a2), Some(true));
        assert_eq!(a2.is_later_than(&a3), Some(false));

        // SAFETY: The fence is valid. No other thread knows it.
        unsafe { (*b1.as_raw()).context = context + (1 << 32) };
        assert_eq!(b1.context(), context + (1 << 32));
        assert_eq!(a2.is_later_than(&b1), None);

        for fence in [a1, a2, a3, a4, b1] {
            fence.signal(Ok(()));
        }

        Ok(())
    }

    // Fences of context 0 have no order among them.
    #[test]
    fn no_timeline() -> Result {
        let mut ctx = ctx()?;
        let (a, b, c) = (fence(&mut ctx)?, fence(&mut ctx)?, fence(&mut ctx)?);
        for fence in [&a.1, &b.1] {
            // SAFETY: The fence is valid. No other thread knows it.
            unsafe { (*fence.as_raw()).context = 0 };
        }

        assert_eq!(a.1.is_later_than(&b.1), None);
        assert_eq!(DmaFence::stub().is_later_than(&b.1), None);

        // C would drop one of them.
        assert_eq!(DmaFence::merge(&[&a.1, &b.1]).err(), Some(EINVAL));
        let same = DmaFence::merge(&[&a.1, &a.1])?;
        assert!(core::ptr::eq(&*same, &*a.1));
        let one = DmaFence::merge(&[&a.1, &c.1, &DmaFence::stub()])?;
        assert_eq!(one.unwrap_iter().count(), 2);

        b.0.signal(Ok(()));
        assert!(DmaFence::merge(&[&a.1, &b.1]).is_ok());

        a.0.signal(Ok(()));
        c.0.signal(Ok(()));

        Ok(())
    }

    // There may be more in containers than there is memory for in one piece.
    #[test]
    fn merge_too_many() -> Result {
        const LEN: usize = 1024;
        const TIMES: usize = DmaFence::MAX_FENCES / LEN;

        let (fence, shared) = fence(&mut ctx()?)?;
        let array = DmaFence::new_array(&KVec::from_elem(&*shared, LEN, GFP_KERNEL)?)?;
        assert_eq!(array.unwrap_iter().count(), LEN);

        let too_many = [&*array; TIMES + 1];
        assert_eq!(DmaFence::merge(&too_many).err(), Some(EINVAL));
        let one = DmaFence::merge(&too_many[..TIMES])?;
        assert!(core::ptr::eq(&*one, &*shared));
        fence.signal(Ok(()));

        Ok(())
    }

    #[test]
    fn names() -> Result {
        let max = c"0123456789012345678901234567890";
        let long = c"01234567890123456789012345678901";

        assert_eq!(max.to_bytes().len(), 31);
        assert!(DmaFenceNames::new(max, max).is_ok());
        assert!(DmaFenceNames::new(long, max).err() == Some(ENAMETOOLONG));
        assert!(DmaFenceNames::new(max, long).err() == Some(ENAMETOOLONG));

        // Each fence has those of its timeline, all of them.
        let other = DmaFenceCtx::new(DmaFenceNames::new(c"other", max)?);
        let other = other.arm_last(UnarmedDmaFence::new(GFP_KERNEL)?);

        // The fence keeps the names, and detaches from them when it is signaled.
        let names = DmaFenceNames::new(c"kunit", c"timeline")?;
        let mut ctx = DmaFenceCtx::new(names.clone());
        let (fence, shared) = fence(&mut ctx)?;
        assert_eq!(names.refcount.load(Relaxed), 3);
        drop(ctx);
        assert_eq!(names.refcount.load(Relaxed), 2);

        assert!(other.driver_name(&rcu::read_lock()) == c"other");
        assert!(other.timeline_name(&rcu::read_lock()) == max);
        other.signal(Ok(()));
        assert!(shared.timeline_name(&rcu::read_lock()) == c"timeline");

        // Who found the names in time can use them for as long as RCU lets him.
        let rcu = rcu::read_lock();
        let name = shared.timeline_name(&rcu);
        assert!(shared.driver_name(&rcu) == c"kunit");
        fence.signal(Ok(()));
        assert_eq!(names.refcount.load(Relaxed), 1);
        drop(names);
        assert!(name == c"timeline");
        assert!(shared.timeline_name(&rcu) == c"signaled-timeline");
        assert!(shared.driver_name(&rcu) == c"detached-driver");

        Ok(())
    }

    #[test]
    fn callback_called_once() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let count = Count::new()?;
        let cb = register(shared, &count)?;

        assert_eq!(count.calls.load(Relaxed), 0);
        fence.signal(Err(EIO));
        assert_eq!(count.calls.load(Relaxed), 1);
        assert_eq!(cb.data().errno.load(Relaxed), EIO.to_errno());

        drop(cb);
        assert_eq!(count.calls.load(Relaxed), 1);

        Ok(())
    }

    #[test]
    fn callback_removed() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let count = Count::new()?;

        drop(register(shared, &count)?);
        fence.signal(Ok(()));

        assert_eq!(count.calls.load(Relaxed), 0);

        Ok(())
    }

    // Registering needs no memory, so it may be done where nothing may sleep.
    #[test]
    fn callback_register_atomic() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let count = Count::new()?;
        let cb = UnarmedDmaFenceCb::new(count.clone(), GFP_KERNEL)?;
        let lock = KBox::pin_init(new_spinlock_irq!(()), GFP_KERNEL)?;

        let guard = lock.lock();
        let cb = cb.register(shared);
        drop(guard);
        let _cb = cb?;

        fence.signal(Ok(()));
        assert_eq!(count.calls.load(Relaxed), 1);

        Ok(())
    }

    #[test]
    fn callback_already_signaled() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let count = Count::new()?;
        fence.signal(Ok(()));

        let cb = UnarmedDmaFenceCb::new(count.clone(), GFP_KERNEL)?;
        let back = cb.register(shared.clone()).err().ok_or(EINVAL)?;

        assert!(core::ptr::eq(&*back.fence, &*shared));
        assert!(Arc::ptr_eq(&back.cb.take(), &count));
        assert_eq!(count.calls.load(Relaxed), 0);
        assert_eq!(register(shared, &count).err(), Some(ENOENT));

        Ok(())
    }

    #[test]
    fn callback_remove() -> Result {
        let mut ctx = ctx()?;

        let (first, shared) = fence(&mut ctx)?;
        let (cb, called) = register(shared, &Count::new()?)?.remove();
        assert!(!called);
        first.signal(Ok(()));
        assert_eq!(cb.data().calls.load(Relaxed), 0);

        // The same one, on another fence.
        let (second, shared) = fence(&mut ctx)?;
        let cb = cb.register(shared)?;
        second.signal(Ok(()));
        let (cb, called) = cb.remove();
        assert!(called);
        assert_eq!(cb.take().calls.load(Relaxed), 1);

        Ok(())
    }

    // It may hold what can't be moved, and its initializer may fail.
    #[test]
    fn callback_pinned_data() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let cb = UnarmedDmaFenceCb::new(
            pin_init!(&this in Locked {
                address: this.as_ptr().addr(),
                status <- new_spinlock_irq!(None),
            }),
            GFP_KERNEL,
        )?;
        assert_eq!(core::ptr::from_ref(&*cb.data()).addr(), cb.data().address);
        assert!(cb.data().status.lock().is_none());

        let cb = cb.register(shared)?;
        fence.signal(Err(EIO));
        assert_eq!(*cb.data().status.lock(), Some(EIO.to_errno()));

        let failing = UnarmedDmaFenceCb::<Arc<Count>>::new(Err(ENODEV), GFP_KERNEL);
        assert_eq!(failing.err(), Some(ENODEV));

        Ok(())
    }

    #[test]
    fn callback_several() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let count = Count::new()?;
        let cb = || register(shared.clone(), &count);
        let (a, b, c) = (cb()?, cb()?, cb()?);

        drop(b);
        fence.signal(Ok(()));
        assert_eq!(count.calls.load(Relaxed), 2);
        drop((c, a));

        Ok(())
    }

    #[test]
    fn callback_wake() -> Result {
        let mut ctx = ctx()?;
        let (mut fences, mut cbs) = (KVec::new(), KVec::new());
        for _ in 0..100 {
            let (fence, shared) = fence(&mut ctx)?;
            let task: ARef<Task> = ARef::from(&**current!());
            let cb = UnarmedDmaFenceCb::new(task, GFP_KERNEL)?.register(shared)?;
            fences.push(fence, GFP_KERNEL)?;
            cbs.push(cb, GFP_KERNEL)?;
        }

        // One of so many is signaled when the task is asleep.
        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
            for fence in fences {
                fsleep(Delta::from_millis(2));
                fence.signal(Ok(()));
            }
        })?;
        // Nobody notifies this.
        let sleep = KBox::pin_init(new_condvar!(), GFP_KERNEL)?;
        let lock = KBox::pin_init(new_mutex!(()), GFP_KERNEL)?;
        let ended = sleep.wait_interruptible_timeout(&mut lock.lock(), msecs_to_jiffies(20_000));
        assert!(matches!(ended, CondVarTimeoutResult::Woken { .. }));

        for cb in cbs {
            cb.fence().wait()?;
            assert!(cb.remove().1);
        }

        Ok(())
    }

    #[test]
    fn callback_queue_twice() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let (queue, item) = (queue()?, Item::new()?);
        let cb = || -> Result<_> {
            let work = QueueWork::new(&queue, item.clone());
            Ok(UnarmedDmaFenceCb::new(work, GFP_KERNEL)?.register(shared.clone())?)
        };
        let (a, b) = (cb()?, cb()?);

        // However the job ended.
        fence.signal(Err(EIO));
        queue.flush();

        // The second finds it enqueued, unless it runs already.
        assert!((1..=2).contains(&item.runs.load(Relaxed)));

        // The item has returned, so nobody but the callbacks had another reference.
        assert!(a.remove().1 && b.remove().1);
        assert!(Arc::into_unique_or_drop(item).is_some());

        Ok(())
    }

    // Every waiter of a completion is woken.
    #[test]
    fn callback_complete() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        let cb = UnarmedDmaFenceCb::new(done.clone(), GFP_KERNEL)?.register(shared)?;

        fence.signal(Ok(()));
        for _ in 0..2 {
            done.wait_for_completion();
        }
        assert!(cb.remove().1);

        Ok(())
    }

    // The driver's data is there until the callbacks have run.
    #[test]
    fn callback_before_drop() -> Result {
        let count = Count::new()?;
        let unarmed = UnarmedDmaFence::with_data(Data::new(&count), GFP_KERNEL)?;
        let fence = ctx()?.arm(unarmed);
        let look = Look {
            data: count.clone(),
            drops: Atomic::new(-1),
        };
        let cb = UnarmedDmaFenceCb::new(look, GFP_KERNEL)?.register(ARef::from(&*fence))?;

        fence.signal(Ok(()));
        assert_eq!(cb.data().drops.load(Relaxed), 0);
        assert_eq!(count.calls.load(Relaxed), 1);

        Ok(())
    }

    // A pending signal ends interruptible waits only.
    #[test]
    fn wait_interrupted() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let task = Task::current_raw();
        let signal = bindings::SIGUSR1 as crate::ffi::c_int;

        // SAFETY: This is `allow_signal()`: `SIG_KTHREAD` is the value 2. The task is the current
        // one, so it is valid, and `send_sig()` with 1 sends a signal of the kernel.
        let sent = unsafe {
            bindings::kernel_sigaction(
                signal,
                core::mem::transmute::<usize, bindings::__sighandler_t>(2),
            );
            bindings::send_sig(signal, task, 1)
        };
        let interrupted = match shared.wait_interruptible_timeout(msecs_to_jiffies(1000)) {
            Err(WaitError::Interrupted) => shared.wait_interruptible(),
            other => other.map(|_| ()),
        };
        let timeout = shared.wait_timeout(1);
        let spawned = workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
            fsleep(Delta::from_millis(20));
            fence.signal(Ok(()));
        });
        let waited = shared.wait();

        // SAFETY: The task is the current one. This is `disallow_signal()`: `SIG_IGN` is 1.
        unsafe {
            bindings::kernel_sigaction(
                signal,
                core::mem::transmute::<usize, bindings::__sighandler_t>(1),
            );
            bindings::flush_signals(task);
        }

        assert_eq!(sent, 0);
        assert_eq!(interrupted, Err(WaitError::Interrupted));
        assert_eq!(timeout, Err(WaitError::TimedOut));
        assert!(spawned.is_ok());
        assert_eq!(waited, Ok(()));

        Ok(())
    }

    // The error of a driver that waits in its own way is passed on.
    #[test]
    fn wait_errors() {
        let driver = wait::outcome_from_c(EDEADLK.to_errno() as crate::ffi::c_long);

        assert_eq!(driver, Err(WaitError::Failed(EDEADLK)));
        assert_eq!(Error::from(WaitError::Failed(EDEADLK)), EDEADLK);
        assert_eq!(Error::from(WaitError::TimedOut), ETIMEDOUT);
        assert_eq!(Error::from(WaitError::Interrupted), ERESTARTSYS);
    }

    // A callback that outlives its queue is called, and does nothing.
    #[test]
    fn callback_without_queue() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let (queue, item) = (queue()?, Item::new()?);
        let work = QueueWork::new(&queue, item.clone());
        let cb = UnarmedDmaFenceCb::new(work, GFP_KERNEL)?.register(shared)?;

        drop(queue);
        fence.signal(Ok(()));

        assert!(cb.remove().1);
        assert_eq!(item.runs.load(Relaxed), 0);
        assert!(Arc::into_unique_or_drop(item).is_some());

        Ok(())
    }

    #[test]
    fn signalling_nests() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        // C begins a section, and says so, unless it is in one. Without lockdep it does neither.
        let inside = || {
            // SAFETY: What is begun here is ended here.
            unsafe {
                let inside = bindings::dma_fence_begin_signalling();
                bindings::dma_fence_end_signalling(inside);
                inside || !cfg!(CONFIG_LOCKDEP)
            }
        };
        assert!(!inside() || !cfg!(CONFIG_LOCKDEP));

        let got = signalling(|| {
            signalling(|| fence.signal(Ok(())));
            inside() && shared.is_signaled()
        });
        assert!(got);
        assert!(!inside() || !cfg!(CONFIG_LOCKDEP));

        Ok(())
    }

    /// The driver's data is dropped once, when the fence is signaled, however that comes about,
    /// or with a fence that was not armed.
    #[test]
    fn data() -> Result {
        let mut ctx = ctx()?;
        let count = Count::new()?;
        let unarmed = || UnarmedDmaFence::with_data(Data::new(&count), GFP_KERNEL);
        let drops = || count.calls.load(Relaxed);

        drop(unarmed()?);
        assert_eq!(drops(), 1);

        let fence = ctx.arm(unarmed()?);
        assert!(fence.data().is_in_place());
        let shared: ARef<DmaFence> = ARef::from(&*fence);
        assert_eq!(drops(), 1);
        fence.signal(Ok(()));
        assert_eq!(drops(), 2);
        drop(shared);
        assert_eq!(drops(), 2);

        drop(ctx.arm(unarmed()?));
        assert_eq!(drops(), 3);

        let fence = ctx.arm(unarmed()?);
        let ptr = fence.into_foreign();
        // SAFETY: `ptr` comes from `into_foreign()`, and the borrow ends here.
        let in_place = unsafe { DriverDmaFence::<Data>::borrow(ptr) }
            .data()
            .is_in_place();
        assert!(in_place);
        assert_eq!(drops(), 3);
        // SAFETY: `ptr` comes from `into_foreign()`, and this is done once.
        unsafe { DriverDmaFence::<Data>::from_foreign(ptr) }.signal(Ok(()));
        assert_eq!(drops(), 4);

        Ok(())
    }

    #[test]
    fn foreign() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let context = fence.context();

        let ptr = fence.into_foreign();
        // SAFETY: `ptr` comes from `into_foreign()`, and the borrow ends here.
        let borrowed = unsafe { DriverDmaFence::<()>::borrow(ptr) }.context();
        assert_eq!(borrowed, context);
        assert!(!shared.is_signaled());

        // SAFETY: `ptr` comes from `into_foreign()`, and this is done once.
        unsafe { DriverDmaFence::<()>::from_foreign(ptr) }.signal(Ok(()));
        assert!(shared.is_signaled());

        Ok(())
    }

    /// An initializer that fails has its error passed on, and nothing is left behind.
    #[test]
    fn data_init_fails() -> Result {
        let count = Count::new()?;
        let data = count.clone();
        let unarmed = UnarmedDmaFence::with_data(
            try_pin_init!(Data {
                count: data,
                address: Err(EDOM)?,
            }),
            GFP_KERNEL,
        );

        assert_eq!(unarmed.err(), Some(EDOM));
        assert_eq!(count.calls.load(Relaxed), 0);

        Ok(())
    }

    #[test]
    #[cfg(CONFIG_SYNC_FILE)]
    fn sync_file() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        // No such file.
        assert!(DmaFence::from_sync_file(u32::MAX).is_none());

        // Neither half is used.
        drop(SyncFile::new(&shared)?);
        let fd = FileDescriptorReservation::get_unused_fd_flags(0)?;
        assert!(DmaFence::from_sync_file(fd.reserved_fd()).is_none());

        let fd = SyncFile::new(&shared)?.install(fd);
        let back = DmaFence::from_sync_file(fd);

        // SAFETY: The file descriptor is that which was just installed.
        unsafe { bindings::close_fd(fd) };

        assert!(core::ptr::eq(&*back.ok_or(EINVAL)?, &*shared));
        assert!(DmaFence::from_sync_file(fd).is_none());
        fence.signal(Ok(()));

        Ok(())
    }
}
