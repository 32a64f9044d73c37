// SPDX-License-Identifier: GPL-2.0

use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    dma_fence::{
        DmaFenceCtx,
        DmaFenceNames,
        DriverDmaFence,
        UnarmedDmaFence, //
    },
    dma_resv::{
        DmaResv,
        Usage, //
    },
    impl_has_hr_timer,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode,
        RBTreeNodeReservation, //
    },
    sync::{
        aref::ARef,
        new_mutex,
        new_spinlock_irq,
        Arc,
        ArcBorrow,
        Mutex,
        SpinLockIrq, //
    },
    time::{
        hrtimer::{
            ArcHrTimerHandle,
            HrTimer,
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerHandle,
            HrTimerPointer,
            HrTimerRestart,
            RelativeSoftMode, //
        },
        Delta,
        Instant,
        Monotonic, //
    },
};

/// User space has this long to signal a fence, so that it can't hang other drivers.
const TIMEOUT: Delta = Delta::from_secs(10);

/// The timer is set to this much after a fence's time is up, to find several that expired at once.
const SLACK: Delta = Delta::from_millis(1);

/// The timer signals at most this many fences with interrupts off.
const BATCH: u32 = 64;

/// The timer goes on after this many batches, but lets others run first.
const BATCHES: u32 = 64;

/// The number of IDs. They go from 1 to `i32::MAX`, and are all used in turn, so that a stale ID is
/// not soon another fence's.
const IDS: u64 = i32::MAX as u64;

/// The fences of a client.
///
/// All have the same timeout, so the oldest one expires first and one timer is enough. It is
/// started when there was none to wait for.
#[pin_data(PinnedDrop)]
pub(crate) struct Fences {
    #[pin]
    timer: Mutex<Option<ArcHrTimerHandle<Table>>>,
    table: Arc<Table>,
}

impl Fences {
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            timer <- new_mutex!(None),
            table: Arc::pin_init(
                pin_init!(Table {
                    timer <- HrTimer::new(),
                    state <- new_spinlock_irq!(State {
                        fences: RBTree::new(),
                        next: 0,
                        pending: 0,
                        armed: false,
                    }),
                }),
                GFP_KERNEL,
            )?,
        })
    }

    /// Attaches a new fence to a buffer, and returns its ID.
    pub(crate) fn attach(
        &self,
        names: &ARef<DmaFenceNames>,
        resv: &DmaResv,
        write: bool,
    ) -> Result<u32> {
        let mut resv = resv.lock();
        if !resv.test_signaled(Usage::implicit(write)) {
            return Err(EBUSY);
        }

        // All that can fail comes before the fence. They are charged to the
        // client, which decides how many there are.
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let fence = UnarmedDmaFence::new(GFP_KERNEL_ACCOUNT)?;
        let slot = resv.reserve_one()?;

        // Fences are signalled in any order, so each has its own timeline.
        let fence = DmaFenceCtx::new(names.clone()).arm(fence);
        slot.add(&fence, if write { Usage::Write } else { Usage::Read });
        drop(resv);

        let Inserted {
            id,
            start,
            stale: _stale,
        } = self.table.state.lock().insert(fence, node);
        if start {
            match &mut *self.timer.lock() {
                Some(timer) => timer.restart(TIMEOUT),
                timer => *timer = Some(self.table.clone().start(TIMEOUT)),
            }
        }

        Ok(id)
    }

    /// Signals a fence, and gives up its ID.
    pub(crate) fn signal(&self, id: u32) -> Result {
        let node = self.table.state.lock().remove(id);

        match node.ok_or(ENOENT)?.to_key_value().1.fence {
            Some(fence) => {
                fence.signal(Ok(()));
                Ok(())
            }
            None => Err(ETIMEDOUT),
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Fences {
    fn drop(self: Pin<&mut Self>) {
        *self.timer.lock() = None;

        let mut fences = core::mem::take(&mut self.table.state.lock().fences);
        for entry in fences.values_mut() {
            if let Some(fence) = entry.fence.take() {
                fence.signal(Ok(()));
            }
        }
    }
}

#[pin_data]
struct Table {
    #[pin]
    timer: HrTimer<Self>,
    #[pin]
    state: SpinLockIrq<State>,
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Table {
        mode: RelativeSoftMode<Monotonic>, field: self.timer
    }
}

impl HrTimerCallback for Table {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        let mut left = None;
        for _ in 0..BATCHES {
            left = this.state.lock().expire();
            if left != Some(Delta::ZERO) {
                break;
            }
        }

        match left {
            Some(left) => {
                ctx.forward_now(left + SLACK);
                HrTimerRestart::Restart
            }
            None => HrTimerRestart::NoRestart,
        }
    }
}

struct Entry {
    deadline: Instant<Monotonic>,
    /// [`None`] once it has expired. The ID is kept, to tell so to user space.
    fence: Option<DriverDmaFence>,
}

struct Inserted {
    id: u32,
    /// The timer has to be started.
    start: bool,
    /// What had the ID before; to be dropped without the lock.
    stale: Option<RBTreeNode<u64, Entry>>,
}

struct State {
    /// The fences, by a number that is never used again. The ID is the number modulo [`IDS`].
    fences: RBTree<u64, Entry>,
    /// The number of the next fence.
    next: u64,
    /// Entries before this number have expired, all others have not.
    pending: u64,
    /// The timer will look at the fences again.
    armed: bool,
}

impl State {
    fn insert(
        &mut self,
        fence: DriverDmaFence,
        node: RBTreeNodeReservation<u64, Entry>,
    ) -> Inserted {
        let number = self.next;
        self.next += 1;

        // An ID is used again after all others have been, and then is for the new fence. The old
        // one has expired by far.
        let stale = number
            .checked_sub(IDS)
            .and_then(|old| self.fences.remove_node(&old));

        // With the lock held, so that deadlines have the order of the numbers.
        let deadline = Instant::now() + TIMEOUT;
        self.fences.insert(node.into_node(
            number,
            Entry {
                deadline,
                fence: Some(fence),
            },
        ));

        Inserted {
            // CAST: `IDS` is less than 2^32.
            id: (number % IDS) as u32 + 1,
            start: !core::mem::replace(&mut self.armed, true),
            stale,
        }
    }

    /// Removes the fence that has the ID.
    fn remove(&mut self, id: u32) -> Option<RBTreeNode<u64, Entry>> {
        // The last number that was given out, and how far before it the ID's last use is.
        let last = self.next.checked_sub(1)?;
        let index = u64::from(id).checked_sub(1).filter(|index| *index < IDS)?;
        let back = (last % IDS + IDS - index) % IDS;

        self.fences.remove_node(&last.checked_sub(back)?)
    }

    /// Signals fences whose time is up, and returns how long it is until there is another one, or
    /// [`None`] if none is pending.
    ///
    /// With the lock held, so that a client that is told that its fence has expired finds it
    /// signalled. No callback of a fence takes the lock.
    fn expire(&mut self) -> Option<Delta> {
        let now = Instant::now();

        for _ in 0..BATCH {
            let Some(mut oldest) = self.fences.cursor_lower_bound_mut(&self.pending) else {
                self.armed = false;
                return None;
            };
            let (number, entry) = oldest.current_mut();
            let left = entry.deadline - now;

            if left > Delta::ZERO {
                return Some(left);
            }

            self.pending = *number + 1;
            if let Some(fence) = entry.fence.take() {
                fence.signal(Ok(()));
            }
        }

        Some(Delta::ZERO)
    }
}
