// SPDX-License-Identifier: GPL-2.0

use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    dma_fence::{
        DmaFence,
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
        new_spinlock_irq,
        Arc,
        ArcBorrow,
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

/// The timer looks at most at this many blocks with interrupts off.
const BLOCKS: u32 = 64;

/// The timer goes on after this many fences, but lets others run first.
const BATCH: u32 = 4096;

/// The bits of an ID. All of them are used in turn but 0, so that a stale ID is not soon another
/// fence's.
const ID_MASK: u64 = i32::MAX as u64;

/// This many fences, with numbers in a row, are in one block.
const BLOCK: u64 = 32;

/// The fences of a client.
///
/// All have the same timeout, so the oldest one expires first and one timer is enough. It is
/// started when there was none to wait for.
pub(crate) struct Fences {
    table: Arc<Table>,
}

impl Fences {
    pub(crate) fn new() -> Result<Self> {
        let table = pin_init!(Table {
            timer <- HrTimer::new(),
            state <- new_spinlock_irq!(State {
                blocks: RBTree::new(),
                last: None,
                next: 0,
                oldest: 0,
                timer: Timer {
                    handle: None,
                    armed: false,
                },
            }),
        });

        Ok(Self {
            table: Arc::pin_init(table, GFP_KERNEL)?,
        })
    }

    /// Attaches a new fence to a buffer, and returns its ID.
    pub(crate) fn attach(
        &self,
        names: &ARef<DmaFenceNames>,
        resv: &DmaResv,
        write: bool,
    ) -> Result<u32> {
        // Without the lock, as another client may hold that for long.
        if !resv.test_signaled(Usage::implicit(write)) {
            return Err(EBUSY);
        }

        let (id, fence) = self.create(names)?;
        Self::publish(&fence, resv, write).inspect_err(|_| {
            // It is not there any more if the client has guessed the ID, and has signaled it.
            let _ = self.signal(id);
        })?;

        Ok(id)
    }

    /// Creates a fence that nobody can wait for yet, and returns its ID.
    ///
    /// What is allocated is charged to the client, which decides how many fences there are.
    fn create(&self, names: &ARef<DmaFenceNames>) -> Result<(u32, ARef<DmaFence>)> {
        let unarmed = UnarmedDmaFence::new(GFP_KERNEL_ACCOUNT)?;
        let mut memory = None;

        // Fences are signaled in any order, so each has its own timeline.
        let ctx = DmaFenceCtx::new(names.clone());

        loop {
            let mut state = self.table.state.lock();
            if let Some(vacancy) = state.vacancy(&mut memory) {
                return Ok(vacancy.insert(&self.table, ctx.arm_last(unarmed)));
            }
            drop(state);
            memory = Some(Last::new()?);
        }
    }

    /// Lets others wait for a fence, unless there are fences that conflict with it.
    fn publish(fence: &DmaFence, resv: &DmaResv, write: bool) -> Result {
        let mut resv = resv.lock_interruptible()?;
        if !resv.test_signaled(Usage::implicit(write)) {
            return Err(EBUSY);
        }
        let usage = if write { Usage::Write } else { Usage::Read };

        // Only a fence that is made of others is not taken.
        resv.reserve_one()?
            .add_shared(fence, usage)
            .map_err(|_| EINVAL)
    }

    /// Signals a fence, and gives up its ID.
    pub(crate) fn signal(&self, id: u32) -> Result {
        let Removed {
            fence,
            block: _block,
        } = self.table.state.lock().remove(id).ok_or(ENOENT)?;

        fence.ok_or(ETIMEDOUT)?.signal(Ok(()));
        Ok(())
    }
}

impl Drop for Fences {
    fn drop(&mut self) {
        // Without the lock, as this waits for the timer, which takes it.
        let timer = self.table.state.lock().timer.handle.take();
        drop(timer);

        let (mut blocks, mut last) = {
            let mut state = self.table.state.lock();
            (core::mem::take(&mut state.blocks), state.last.take())
        };
        let last = last.iter_mut().map(|last| &mut last.block);
        for block in Iterator::chain(blocks.values_mut(), last) {
            for entry in block.entries.iter_mut().filter_map(Option::take) {
                entry.fence.signal(Ok(()));
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

impl Table {
    /// Signals fences whose time is up, and returns how long it is until there is another one, or
    /// [`None`] if none is pending.
    fn expire(&self) -> Option<Delta> {
        for _ in 0..BATCH {
            let left = self.state.lock().expire();
            if left != Some(Delta::ZERO) {
                return left;
            }
        }

        Some(Delta::ZERO)
    }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Table {
        mode: RelativeSoftMode<Monotonic>, field: self.timer
    }
}

impl HrTimerCallback for Table {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        match this.expire() {
            Some(left) => {
                ctx.forward_now(left + SLACK);
                HrTimerRestart::Restart
            }
            None => HrTimerRestart::NoRestart,
        }
    }
}

struct Pending {
    deadline: Instant<Monotonic>,
    fence: DriverDmaFence,
}

/// Fences with numbers in a row.
///
/// They share allocations, and a node of the tree, as most come and go with their neighbours.
struct Block {
    /// The fences that are not signalled.
    entries: KBox<[Option<Pending>; BLOCK as usize]>,
    /// Which of `entries` there are.
    pending: u32,
    /// Which fences have expired. Their IDs are kept, to tell so to user space.
    expired: u32,
}

// Each fence takes 16 bytes here.
static_assert!(size_of::<[Option<Pending>; BLOCK as usize]>() <= 512);

impl Block {
    fn is_empty(&self) -> bool {
        self.pending | self.expired == 0
    }

    /// Removes a fence, and returns it if it has not expired.
    fn remove(&mut self, number: u64) -> Option<Option<DriverDmaFence>> {
        let bit = 1 << index(number);
        if (self.pending | self.expired) & bit == 0 {
            return None;
        }
        self.pending &= !bit;
        self.expired &= !bit;

        Some(self.entries[index(number)].take().map(|entry| entry.fence))
    }

    /// Signals the oldest fence if its time is up, and returns how long it is until there is
    /// another one, or [`None`] if none is pending.
    fn expire(&mut self, now: Instant<Monotonic>) -> Option<Delta> {
        // CAST: This is at most 32.
        let index = self.pending.trailing_zeros() as usize;
        let entry = self.entries.get_mut(index)?;

        let left = entry.as_ref()?.deadline - now;
        if left > Delta::ZERO {
            return Some(left);
        }

        self.pending &= !(1 << index);
        self.expired |= 1 << index;
        if let Some(entry) = entry.take() {
            entry.fence.signal(Ok(()));
        }

        Some(Delta::ZERO)
    }
}

/// The block that the next fence goes to. It is not in the tree yet, so it need not be searched
/// for.
struct Last {
    number: u64,
    block: Block,
    node: RBTreeNodeReservation<u64, Block>,
}

impl Last {
    fn new() -> Result<Self> {
        Ok(Self {
            number: 0,
            block: Block {
                entries: KBox::new([const { None }; BLOCK as usize], GFP_KERNEL_ACCOUNT)?,
                pending: 0,
                expired: 0,
            },
            node: RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?,
        })
    }
}

struct Timer {
    /// Set once the timer was started.
    handle: Option<ArcHrTimerHandle<Table>>,
    /// The timer will look at the fences again.
    armed: bool,
}

/// Where the next fence goes.
struct Vacancy<'a> {
    block: &'a mut Block,
    next: &'a mut u64,
    timer: &'a mut Timer,
}

impl Vacancy<'_> {
    /// Returns the fence's ID, and the fence to be published.
    fn insert(self, table: &Arc<Table>, fence: DriverDmaFence) -> (u32, ARef<DmaFence>) {
        let number = *self.next;
        *self.next += 1;

        let shared = ARef::from(&*fence);
        self.block.entries[index(number)] = Some(Pending {
            // With the lock held, so that deadlines have the order of the numbers.
            deadline: Instant::now() + TIMEOUT,
            fence,
        });
        self.block.pending |= 1 << index(number);

        // With the lock held, as no fence may be published before the timer runs.
        if !core::mem::replace(&mut self.timer.armed, true) {
            match &mut self.timer.handle {
                Some(handle) => handle.restart(TIMEOUT),
                handle => *handle = Some(table.clone().start(TIMEOUT)),
            }
        }

        // CAST: The mask has less than 32 bits.
        ((number & ID_MASK) as u32, shared)
    }
}

struct Removed {
    /// [`None`] if it has expired.
    fence: Option<DriverDmaFence>,
    /// The memory of a block that is not used any more; to be dropped without the lock.
    block: Option<RBTreeNode<u64, Block>>,
}

/// Returns where in its block a fence is.
fn index(number: u64) -> usize {
    // CAST: A block has less than 2^32 fences.
    (number % BLOCK) as usize
}

struct State {
    /// The fences but for the last ones, by a number that is never used again, divided by
    /// [`BLOCK`]. The low bits of the number are the ID.
    blocks: RBTree<u64, Block>,
    /// The fences after those, once there was one.
    last: Option<Last>,
    /// The number of the next fence, unless its ID would be 0.
    next: u64,
    /// Blocks before this one have no fence that is pending.
    oldest: u64,
    timer: Timer,
}

impl State {
    /// Returns where the next fence goes, or [`None`] if that takes `memory`.
    fn vacancy(&mut self, memory: &mut Option<Last>) -> Option<Vacancy<'_>> {
        if self.next & ID_MASK == 0 {
            self.next += 1;
        }

        // An ID is used again after all others have been, and then is for the new fence. The old
        // one has expired by far.
        if let Some(old) = self.next.checked_sub(ID_MASK + 1) {
            self.remove_number(old);
        }

        let number = self.next / BLOCK;
        let fits = |last: &Last| last.number == number || last.block.is_empty();
        if !self.last.as_ref().is_some_and(fits) {
            if let Some(full) = self.last.replace(memory.take()?) {
                self.blocks
                    .insert(full.node.into_node(full.number, full.block));
            }
        }

        let last = self.last.as_mut()?;
        last.number = number;

        Some(Vacancy {
            block: &mut last.block,
            next: &mut self.next,
            timer: &mut self.timer,
        })
    }

    /// Removes the fence that has the ID.
    fn remove(&mut self, id: u32) -> Option<Removed> {
        let id = u64::from(id);
        if id & !ID_MASK != 0 {
            return None;
        }

        // The last number with that ID that was given out, if any. No fence has the ID 0.
        let last = self.next.checked_sub(1)?;
        let number = match (last & !ID_MASK) | id {
            number if number > last => number.checked_sub(ID_MASK + 1)?,
            number => number,
        };

        self.remove_number(number)
    }

    fn remove_number(&mut self, number: u64) -> Option<Removed> {
        match &mut self.last {
            Some(last) if last.number == number / BLOCK => {
                return Some(Removed {
                    fence: last.block.remove(number)?,
                    block: None,
                });
            }
            _ => (),
        }

        let mut node = self.blocks.find_mut(&(number / BLOCK))?;
        let fence = node.get_mut().remove(number)?;

        Some(Removed {
            fence,
            block: node.get().is_empty().then(|| node.remove_node()),
        })
    }

    /// Signals the oldest fence if its time is up, and returns how long it is until there is
    /// another one, or [`None`] if none is pending.
    ///
    /// No more than one, as user space decides how much is to be done when it is signalled.
    ///
    /// With the lock held, so that a client that is told that its fence has expired finds it
    /// signalled. No callback of a fence takes the lock.
    fn expire(&mut self) -> Option<Delta> {
        let now = Instant::now();

        for _ in 0..BLOCKS {
            let Some(mut node) = self.blocks.cursor_lower_bound_mut(&self.oldest) else {
                let left = self.last.as_mut().and_then(|last| last.block.expire(now));
                self.timer.armed = left.is_some();
                return left;
            };

            let (&number, block) = node.current_mut();
            if let Some(left) = block.expire(now) {
                return Some(left);
            }
            self.oldest = number + 1;
        }

        Some(Delta::ZERO)
    }
}

#[kunit_tests(rust_vgem_fence)]
mod tests {
    use super::*;

    struct Client {
        fences: Fences,
        names: ARef<DmaFenceNames>,
        resv: Pin<KBox<DmaResv>>,
    }

    impl Client {
        fn new() -> Result<Self> {
            Ok(Self {
                fences: Fences::new()?,
                names: DmaFenceNames::new(c"vgem", c"unbound")?,
                resv: KBox::pin_init(DmaResv::new(), GFP_KERNEL)?,
            })
        }

        fn attach(&self) -> Result<u32> {
            self.fences.attach(&self.names, &self.resv, false)
        }

        /// Lets the time of fences before this number be up.
        fn expire(&self, before: u64) {
            let mut state = self.fences.table.state.lock();
            let State { blocks, last, .. } = &mut *state;
            let last = last.iter_mut().map(|last| (&last.number, &mut last.block));
            for (number, block) in Iterator::chain(blocks.iter_mut(), last) {
                for (index, entry) in block.entries.iter_mut().enumerate() {
                    if let Some(entry) = entry {
                        if *number * BLOCK + (index as u64) < before {
                            entry.deadline = Instant::now();
                        }
                    }
                }
            }
        }

        fn blocks(&self) -> usize {
            let state = self.fences.table.state.lock();
            state.blocks.keys().count() + usize::from(state.last.is_some())
        }
    }

    #[test]
    fn ids() -> Result {
        let client = Client::new()?;

        assert_eq!(client.fences.signal(0), Err(ENOENT));
        assert_eq!(client.fences.signal(1), Err(ENOENT));
        for id in 1..=3 {
            assert_eq!(client.attach()?, id);
        }
        for id in [0, 4, u32::MAX, 1 << 31 | 2] {
            assert_eq!(client.fences.signal(id), Err(ENOENT));
        }
        assert_eq!(client.fences.signal(2), Ok(()));
        assert_eq!(client.fences.signal(2), Err(ENOENT));
        assert_eq!(client.attach()?, 4);

        Ok(())
    }

    #[test]
    fn busy() -> Result {
        let client = Client::new()?;
        let attach = |write| client.fences.attach(&client.names, &client.resv, write);

        // Any number may read, while nobody writes.
        assert_eq!(attach(false), Ok(1));
        assert_eq!(attach(false), Ok(2));
        assert_eq!(attach(true), Err(EBUSY));
        client.fences.signal(1)?;
        client.fences.signal(2)?;

        assert_eq!(attach(true), Ok(3));
        assert_eq!(attach(false), Err(EBUSY));
        assert_eq!(attach(true), Err(EBUSY));

        // Closing signals.
        let Client { fences, resv, .. } = client;
        drop(fences);
        assert!(resv.test_signaled(Usage::Bookkeep));

        Ok(())
    }

    // A buffer is known to be busy while another client holds its lock.
    #[test]
    fn busy_while_locked() -> Result {
        let client = Client::new()?;

        let id = client.fences.attach(&client.names, &client.resv, true)?;
        let guard = client.resv.lock();
        assert_eq!(client.attach(), Err(EBUSY));
        drop(guard);

        client.fences.signal(id)
    }

    #[test]
    fn expiry() -> Result {
        let client = Client::new()?;

        for id in 1..=300 {
            assert_eq!(client.attach()?, id);
        }

        // They are signalled one at a time, and then the others are still pending.
        client.expire(151);
        assert_eq!(client.fences.table.state.lock().expire(), Some(Delta::ZERO));
        assert!(!client.resv.test_signaled(Usage::Bookkeep));
        let left = client.fences.table.expire();
        assert!(left.is_some_and(|left| left > Delta::ZERO && left <= TIMEOUT));

        for id in 1..=150 {
            assert_eq!(client.fences.signal(id), Err(ETIMEDOUT));
            assert_eq!(client.fences.signal(id), Err(ENOENT));
        }
        for id in 151..=299 {
            assert_eq!(client.fences.signal(id), Ok(()));
        }

        // What is left, and where the next fence goes.
        assert_eq!(client.blocks(), 1);
        client.expire(301);
        assert_eq!(client.fences.table.expire(), None);
        assert!(!client.fences.table.state.lock().timer.armed);
        assert!(client.resv.test_signaled(Usage::Bookkeep));

        // The timer is started again.
        assert_eq!(client.attach()?, 301);
        assert!(client.fences.table.state.lock().timer.armed);
        assert_eq!(client.fences.signal(300), Err(ETIMEDOUT));

        Ok(())
    }

    #[test]
    fn wrap() -> Result {
        let client = Client::new()?;

        assert_eq!(client.attach()?, 1);
        assert_eq!(client.attach()?, 2);
        client.expire(3);
        assert_eq!(client.fences.table.expire(), None);

        client.fences.table.state.lock().next = ID_MASK;
        assert_eq!(client.attach()?, i32::MAX as u32);
        assert_eq!(client.attach()?, 1);

        // 1 is a new fence, and 2 still the old one.
        assert_eq!(client.fences.signal(1), Ok(()));
        assert_eq!(client.fences.signal(1), Err(ENOENT));
        assert_eq!(client.fences.signal(2), Err(ETIMEDOUT));
        assert_eq!(client.fences.signal(i32::MAX as u32), Ok(()));

        assert_eq!(client.blocks(), 1);

        Ok(())
    }

    // A client that has one fence at a time keeps one block.
    #[test]
    fn one_at_a_time() -> Result {
        let client = Client::new()?;

        for id in 1..=200 {
            assert_eq!(client.attach()?, id);
            assert_eq!(client.fences.signal(id), Ok(()));
            assert!(client.blocks() <= 1);
        }

        Ok(())
    }
}
