// SPDX-License-Identifier: GPL-2.0

//! The queue of a client, and the hardware that it runs its jobs on.
//!
//! ```text
//!  SUBMIT          the work item `Queue::work`, in the device's `run` queue          `cleanup`
//!
//!  push() --> ring --> current job --> wait for fences --> hardware --> signal --> put buffers
//!                                        |      ^            |   ^
//!                                        +------+            +---+
//!                                     callback: enqueue    timer: enqueue
//! ```

use super::*;

/// As many jobs wait behind the current one.
const RING: usize = 64;

/// A job that runs for longer than this is treated as hung.
const TIMEOUT: time::Delta = time::Delta::from_millis(500);

/// What wakes the queue when a fence is signaled.
type Wake = QueueWork<Queue>;

/// A job.
pub(super) struct Job {
    pub(super) fence: DriverDmaFence,
    /// What it waits for before it is started.
    pub(super) waits: KVVec<ARef<DmaFence>>,
    pub(super) buffers: Arc<Buffers>,
    pub(super) duration: time::Delta,
}

impl Job {
    fn finish(self, status: Result, cleanup: &OwnedQueue) {
        self.fence.signal(status);
        // Nobody else enqueues it.
        let _ = cleanup.enqueue(self.buffers);
    }
}

/// The buffers of a job, each with whether it is written to. They stay while the hardware may
/// access them.
#[pin_data]
pub(super) struct Buffers {
    #[pin]
    work: Work<Self>,
    objects: KVec<(ARef<Object>, bool)>,
}

impl Buffers {
    pub(super) fn new(objects: KVec<(ARef<Object>, bool)>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                work <- new_work!("mockgpu::Buffers"),
                objects,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    pub(super) fn resvs(&self) -> impl Iterator<Item = (&DmaResv, bool)> + Clone {
        self.objects
            .iter()
            .map(|(object, write)| (object.resv(), *write))
    }
}

impl_has_work! {
    impl HasWork<Self> for Buffers { self.work }
}

impl WorkItem for Buffers {
    type Pointer = Arc<Self>;

    fn run(_this: Arc<Self>) {
        // Dropped, this puts the buffers.
    }
}

/// The queue of a client.
#[pin_data]
pub(super) struct Queue {
    /// Both are kept, as [`close`](Self::close) flushes them, and buffers must reach `cleanup`.
    run: Arc<OwnedQueue>,
    cleanup: Arc<OwnedQueue>,
    #[pin]
    work: Work<Self>,
    #[pin]
    timer: HrTimer<Self>,
    /// Held from arming a fence until its job is in `ring`. Taken after the buffers are locked.
    #[pin]
    timeline: Mutex<DmaFenceCtx>,
    /// The jobs behind the current one. Has room for [`RING`].
    #[pin]
    ring: SpinLock<KVec<Job>>,
    /// [`None`] once the file is closed. Fences are signaled with this held, so nothing that waits
    /// for memory or for fences may be done with it.
    #[pin]
    engine: Mutex<Option<Engine>>,
}

/// What runs the jobs.
///
/// It refers to the queue that it is in, so it must be taken out in the end.
struct Engine {
    job: Option<Job>,
    /// When the hardware began with `job`.
    started: Option<time::Instant<time::Monotonic>>,
    /// The callback on a fence that `job` waits for. It is one or the other.
    wait: Option<DmaFenceCb<Wake>>,
    idle: Option<UnarmedDmaFenceCb<Wake>>,
    /// The interrupt of the hardware.
    timer: ArcHrTimerHandle<Queue>,
}

impl Engine {
    /// Returns whether all that `job` waits for is signaled. Otherwise the queue is woken when it
    /// is worth to look again.
    fn is_ready(&mut self, job: &mut Job) -> bool {
        if let Some(wait) = self.wait.take_if(|wait| wait.fence().is_signaled()) {
            self.idle = Some(wait.remove().0);
        }

        while let Some(idle) = self.idle.take() {
            let Some(fence) = job.waits.pop() else {
                self.idle = Some(idle);
                return true;
            };
            match idle.register(fence) {
                Ok(wait) => self.wait = Some(wait),
                Err(signaled) => self.idle = Some(signaled.cb),
            }
        }

        false
    }

    /// Gives `job` to the hardware.
    fn start(&mut self, job: &Job) {
        self.started = Some(time::Instant::now());
        self.timer.restart(job.duration.min(TIMEOUT));
    }

    /// Looks at the hardware, and returns how `job` has ended if it has, or if the watchdog says
    /// so.
    fn poll(&self, job: &Job) -> Option<Result> {
        match self.started?.elapsed() {
            elapsed if elapsed >= job.duration => Some(Ok(())),
            // A real driver stops the hardware, as the buffers are put next.
            elapsed if elapsed >= TIMEOUT => Some(Err(ETIME)),
            _ => None,
        }
    }
}

impl Queue {
    pub(super) fn new(dev: &Device) -> Result<Arc<Self>> {
        let queue = Arc::pin_init(
            try_pin_init!(Self {
                run: dev.run.clone(),
                cleanup: dev.cleanup.clone(),
                work <- new_work!("mockgpu::Queue"),
                timer <- HrTimer::new(),
                timeline <- new_mutex!(DmaFenceCtx::new(dev.names.clone())),
                ring <- new_spinlock!(KVec::with_capacity(RING, GFP_KERNEL_ACCOUNT)?),
                engine <- new_mutex!(None),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;

        let wake = Wake::new(&queue.run, queue.clone());
        *queue.engine.lock() = Some(Engine {
            job: None,
            started: None,
            wait: None,
            idle: Some(UnarmedDmaFenceCb::new(wake, GFP_KERNEL_ACCOUNT)?),
            timer: ArcHrTimerHandle::new(queue.clone()),
        });

        Ok(queue)
    }

    /// Locks the timeline, to arm the fence of a job that is going to be [pushed](Self::push).
    ///
    /// Fails with [`EBUSY`] if the ring is full.
    pub(super) fn timeline(&self) -> Result<MutexGuard<'_, DmaFenceCtx>> {
        let timeline = self.timeline.lock();

        let has_room = self.ring.lock().len() < RING;
        has_room.then_some(timeline).ok_or(EBUSY)
    }

    /// Queues a job, whose fence was armed since [`timeline`](Self::timeline) was locked.
    pub(super) fn push(this: &Arc<Self>, _timeline: &DmaFenceCtx, job: Job) {
        // There is room, as nobody but the holder of the timeline takes it. If the item is pending
        // already, that will do.
        let _ = this.ring.lock().push_within_capacity(job);
        let _ = this.run.enqueue(this.clone());
    }

    /// Does what can be done without waiting.
    fn advance(this: &Arc<Self>) {
        let mut engine = this.engine.lock();
        let Some(engine) = &mut *engine else {
            return;
        };

        let pop = || this.ring.lock().remove(0).ok();
        let Some(mut job) = engine.job.take().or_else(pop) else {
            return;
        };
        if engine.started.is_none() && engine.is_ready(&mut job) {
            engine.start(&job);
        }

        let Some(status) = engine.poll(&job) else {
            engine.job = Some(job);
            return;
        };
        engine.started = None;
        job.finish(status, &this.cleanup);
        // For the next job. Other clients share the queue, and have their turn before it.
        let _ = this.run.enqueue(this.clone());
    }

    /// Ends all jobs, and sees to it that no work item of this queue is left.
    ///
    /// The jobs get [`ECANCELED`]. They need not wait for anything, as the hardware does not go on.
    pub(super) fn close(&self) {
        // Dropping the engine takes its callback off, and waits for its timer.
        let engine = self.engine.lock().take();
        // A real driver stops the hardware before it ends this job.
        let job = engine.and_then(|engine| engine.job);
        let ring = core::mem::take(&mut *self.ring.lock());

        signalling(|| {
            for job in Iterator::chain(job.into_iter(), ring) {
                job.finish(Err(ECANCELED), &self.cleanup);
            }
        });

        // The module, the device and its queues must be there until these have returned. Other
        // clients' items are among them, but not those that are enqueued from now on.
        self.run.flush();
        self.cleanup.flush();
    }
}

impl_has_work! {
    impl HasWork<Self> for Queue { self.work }
}

impl WorkItem for Queue {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        signalling(|| Self::advance(&this));
    }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Queue {
        mode: RelativeHardMode<time::Monotonic>, field: self.timer
    }
}

/// The interrupt handler. Fences can't be signaled here with `PREEMPT_RT`.
impl HrTimerCallback for Queue {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, _: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        let _ = this.run.enqueue(Arc::from(this));

        HrTimerRestart::NoRestart
    }
}
