// SPDX-License-Identifier: GPL-2.0

//! A module with `/dev/fences`, for what a test can only see from outside of it: fences that
//! outlive their module, and what lockdep, KCSAN and KMSAN say.

use kernel::{
    dma_fence::{
        signalling,
        DmaFence,
        DmaFenceCtx,
        DmaFenceNames,
        DriverDmaFence,
        QueueWork,
        SyncFile,
        UnarmedDmaFence,
        UnarmedDmaFenceCb, //
    },
    dma_resv::{
        lock_many,
        DmaResv, //
    },
    fs::{
        file::{
            flags::O_CLOEXEC,
            FileDescriptorReservation, //
        },
        File, //
    },
    impl_has_hr_timer,
    ioctl::_IO,
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        global_lock,
        new_spinlock_irq,
        Arc,
        ArcBorrow,
        Completion,
        SetOnce,
        SpinLockIrq, //
    },
    task::Task,
    time::{
        delay::fsleep,
        hrtimer::{
            ArcHrTimerHandle,
            HrTimer,
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerPointer,
            HrTimerRestart,
            RelativeSoftMode, //
        },
        Delta,
        Monotonic, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        OwnedQueue,
        Queue,
        Work,
        WorkItem, //
    }, //
};
use core::convert::Infallible;
use pin_init::init_scope;

module! {
    type: Fences,
    name: "fences",
    authors: ["The rustgem project"],
    description: "Test of Rust DMA fences from outside of the module",
    license: "GPL v2",
}

/// Returns a new sync file. The argument is what becomes of its fence, one of the next three.
const EXPORT: u32 = _IO('f' as u32, 1);
/// Signalled at once, with an error.
const SIGNAL: usize = 0;
/// Signalled when the module is unloaded.
const KEEP: usize = 1;
/// Never signalled.
const FORGET: usize = 2;

/// Breaks the rules: a thread waits with a lock held that what it waits for takes. The argument is
/// what that is, one of the next four, plus 1 for the thread that waits.
const DEADLOCK: u32 = _IO('f' as u32, 2);
/// A fence.
const FENCE: usize = 0;
/// The callback of a timer.
const TIMER: usize = 2;
/// The initializer of a `SetOnce`.
const ONCE: usize = 4;
/// A reservation object, which is locked while `lock_many()` has another one locked.
const RESV: usize = 6;
const FENCE_WAIT: usize = FENCE + 1;
const TIMER_WAIT: usize = TIMER + 1;
const ONCE_WAIT: usize = ONCE + 1;
const RESV_WAIT: usize = RESV + 1;

/// Leaks callbacks on the fence of a sync file, whose file descriptor is the argument. One enqueues
/// a work item on a queue that is dropped when the module is unloaded.
const LEAK: u32 = _IO('f' as u32, 3);

/// Breaks the rules: adds to a number without a lock, many times.
const RACE: u32 = _IO('f' as u32, 4);

/// Breaks the rules: uses memory that nothing was written to, and copies it to the user space
/// address that is the argument.
const STALE: u32 = _IO('f' as u32, 5);

global_lock! {
    // SAFETY: Initialised at the start of the module's initialisation.
    unsafe(uninit) static KEPT: Mutex<KVec<DriverDmaFence>> = KVec::new();
}

global_lock! {
    // SAFETY: Initialised at the start of the module's initialisation.
    unsafe(uninit) static QUEUE: Mutex<Option<OwnedQueue>> = None;
}

#[pin_data(PinnedDrop)]
struct Fences {
    /// Runs all the time. Nothing but the drop of this field stops it.
    _tick: ArcHrTimerHandle<Tick>,
    #[pin]
    device: MiscDeviceRegistration<Device>,
}

impl kernel::InPlaceModule for Fences {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // SAFETY: Called once.
        unsafe {
            KEPT.init();
            QUEUE.init();
        }

        try_pin_init!(Self {
            _tick: Tick::new(true)?.start(Delta::from_millis(10)),
            device <- MiscDeviceRegistration::register(MiscDeviceOptions { name: c"fences" }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Fences {
    fn drop(self: Pin<&mut Self>) {
        for fence in core::mem::take(&mut *KEPT.lock()) {
            fence.signal(Err(ENODEV));
        }
        // This waits for the items. Callbacks that were leaked do nothing any more.
        let queue = QUEUE.lock().take();
        drop(queue);
    }
}

struct Device;

impl Drop for Device {
    fn drop(&mut self) {
        // If a thread that exits closes the device, it has no files any more.
        drop(DmaFence::from_sync_file(0));
    }
}

#[vtable]
impl MiscDevice for Device {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _device: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        Ok(KBox::new(Self, GFP_KERNEL)?)
    }

    fn ioctl(_device: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            EXPORT => export(arg),
            DEADLOCK => deadlock(arg),
            LEAK => leak(arg.try_into()?),
            RACE => race(),
            STALE => stale(arg),
            _ => Err(ENOTTY),
        }
    }
}

fn export(fate: usize) -> Result<isize> {
    let fence = DmaFenceCtx::new(DmaFenceNames::new(c"fences", c"outlive")?)
        .arm(UnarmedDmaFence::new(GFP_KERNEL)?);
    let fd = FileDescriptorReservation::get_unused_fd_flags(O_CLOEXEC);
    let file = SyncFile::new(&fence);

    match fate {
        SIGNAL => fence.signal(Err(ENODATA)),
        KEEP => KEPT.lock().push(fence, GFP_KERNEL)?,
        FORGET => core::mem::forget(fence),
        _ => fence.signal(Err(EINVAL)),
    }

    Ok(file?.install(fd?).try_into()?)
}

/// A work item that takes its time, so that the module may be unloaded meanwhile.
#[pin_data]
struct Item {
    #[pin]
    work: Work<Self>,
}

impl_has_work! {
    impl HasWork<Self> for Item { self.work }
}

impl WorkItem for Item {
    type Pointer = Arc<Self>;

    fn run(_this: Arc<Self>) {
        fsleep(Delta::from_millis(100));
    }
}

fn leak(fd: u32) -> Result<isize> {
    let fence = DmaFence::from_sync_file(fd).ok_or(EINVAL)?;
    let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
    let task: ARef<Task> = ARef::from(&**current!());
    let item = Arc::pin_init(pin_init!(Item { work <- new_work!("fences") }), GFP_KERNEL)?;
    let work = {
        let mut queue = QUEUE.lock();
        if queue.is_none() {
            *queue = Some(Queue::new_unbound().mem_reclaim().build(fmt!("fences"))?);
        }
        QueueWork::new(queue.as_ref().ok_or(EINVAL)?, item)
    };

    core::mem::forget(UnarmedDmaFenceCb::new(work, GFP_KERNEL)?.register(fence.clone())?);
    core::mem::forget(UnarmedDmaFenceCb::new(done, GFP_KERNEL)?.register(fence.clone())?);
    core::mem::forget(UnarmedDmaFenceCb::new(task, GFP_KERNEL)?.register(fence)?);

    Ok(0)
}

/// A timer whose callback takes a lock.
#[pin_data]
struct Tick {
    /// Whether it goes on.
    again: bool,
    #[pin]
    timer: HrTimer<Self>,
    #[pin]
    lock: SpinLockIrq<()>,
    #[pin]
    done: Completion,
}

impl Tick {
    fn new(again: bool) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                again,
                timer <- HrTimer::new(),
                lock <- new_spinlock_irq!(()),
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }
}

impl HrTimerCallback for Tick {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        drop(this.lock.lock());
        this.done.complete_all();
        if !this.again {
            return HrTimerRestart::NoRestart;
        }
        ctx.forward_now(Delta::from_millis(10));
        HrTimerRestart::Restart
    }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Tick {
        mode: RelativeSoftMode<Monotonic>, field: self.timer
    }
}

/// Takes the lock in what others wait for, or waits with it held. Either is fine alone, and the two
/// never meet.
fn deadlock(what: usize) -> Result<isize> {
    let once = SetOnce::<u32>::new();

    match what {
        FENCE => signalling(|| signalling(|| drop(KEPT.lock()))),
        FENCE_WAIT => {
            let _kept = KEPT.lock();
            DmaFence::stub().wait()?;
        }
        TIMER | TIMER_WAIT => {
            let tick = Tick::new(false)?;
            let handle = tick.clone().start(Delta::from_micros(100));
            tick.done.wait_for_completion();
            if what == TIMER_WAIT {
                let _lock = tick.lock.lock();
                drop(handle);
            }
        }
        ONCE => {
            once.get_or_init(init_scope(|| {
                drop(KEPT.lock());
                Ok::<_, Infallible>(1)
            }))?;
        }
        ONCE_WAIT => {
            let _kept = KEPT.lock();
            once.get_or_init(2)?;
        }
        RESV | RESV_WAIT => {
            let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
            drop(resv.lock());
            let other = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
            lock_many([(&*other, ())].into_iter(), |_| {
                if what == RESV_WAIT {
                    drop(resv.lock());
                }
                Ok(())
            })?;
        }
        _ => return Err(EINVAL),
    }

    Ok(0)
}

/// KCSAN's report has the name of this.
#[inline(never)]
fn race() -> Result<isize> {
    static mut NUMBER: u32 = 0;

    for _ in 0..100_000 {
        let number = &raw mut NUMBER;
        // SAFETY: There is none, if two threads are here: that is what KCSAN has to see.
        unsafe { *number = core::hint::black_box(number.read().wrapping_add(1)) };
    }

    Ok(0)
}

/// KMSAN's report has the name of this.
#[inline(never)]
fn stale(arg: usize) -> Result<isize> {
    let number = KBox::<u32>::new_uninit(GFP_KERNEL)?;
    // SAFETY: There is none: that is what KMSAN has to see.
    let number = unsafe { number.assume_init() };

    // SAFETY: As above, but for what is in it.
    let odd = unsafe { (&raw const *number).read_volatile() } & 1 == 1;
    if odd {
        pr_info!("odd\n");
    }
    UserSlice::new(UserPtr::from_addr(arg), size_of::<u32>())
        .writer()
        .write(&*number)?;

    Ok(0)
}
