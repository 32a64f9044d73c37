// SPDX-License-Identifier: GPL-2.0

//! What becomes of a client's fences: they are attached, and then signaled or expire.

use core::cell::Cell;
use kernel::alloc::flags::GFP_KERNEL_ACCOUNT;
use kernel::dma_fence::*;
use kernel::dma_resv::*;
use kernel::impl_has_hr_timer;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::*;
use kernel::time::hrtimer::*;
use kernel::time::*;
use table::*;

mod table;
#[cfg(CONFIG_DRM_VGEM_RUST_KUNIT_TEST)]
mod tests;

/// User space has this long to signal a fence, so that it can't hang other drivers.
const TIMEOUT: Delta = Delta::from_secs(10);

/// The timer is late by this, to find several fences that expired at once.
const SLACK: Delta = Delta::from_millis(1);

/// The timer signals this many fences at once, and then lets others have the CPU.
const BATCH: usize = 1024;

/// The fences of a client. As all have the same timeout, one timer is enough. Dropping its handle
/// stops it, and then signals the fences that are left, as nothing else keeps [`Shared`].
pub(crate) struct Fences(ArcHrTimerHandle<Shared>);

#[pin_data]
struct Shared {
    #[pin]
    timer: HrTimer<Self>,
    #[pin]
    state: SpinLockIrq<State>,
}

#[derive(Default)]
struct State {
    table: Table,
    armed: bool, // The timer will look at the table again.
    /// The fence that the timer took last, and may not have signaled yet.
    expiring: Option<ARef<DmaFence>>,
}

impl Drop for State {
    fn drop(&mut self) {
        self.table.fences().for_each(|fence| fence.signal(Ok(())));
    }
}

impl Fences {
    pub(crate) fn new() -> Result<Self> {
        let shared = pin_init!(Shared {
            timer <- HrTimer::new(),
            state <- new_spinlock_irq!(State::default()),
        });
        let shared = Arc::pin_init(shared, GFP_KERNEL)?;
        Ok(Self(ArcHrTimerHandle::new(shared)))
    }

    /// Attaches a new fence to a buffer, and returns its ID. The client is charged for its memory.
    pub(crate) fn attach(&self, names: &DmaFenceNames, resv: &DmaResv, write: bool) -> Result<u32> {
        let usage = if write { Usage::Write } else { Usage::Read };
        let mut fence = match Unarmed::with_data(Cell::new(None), GFP_KERNEL_ACCOUNT) {
            // EBUSY goes before ENOMEM.
            Err(_) if !resv.test_signaled(Usage::implicit(write)) => return Err(EBUSY),
            fence => fence?,
        };
        loop {
            // Another client may hold the lock for long.
            if resv.is_locked() && !resv.test_signaled(Usage::implicit(write)) {
                return Err(EBUSY);
            }
            // With SA_RESTART, a client sees no signal, as in C.
            let mut locked = resv.lock_interruptible().map_err(|_| ERESTARTSYS)?;
            if !locked.test_signaled(Usage::implicit(write)) {
                return Err(EBUSY);
            }
            let slot = locked.reserve_one()?;
            match self.arm(names, fence) {
                Ok((id, shared)) => {
                    // This does not fail: the fence is no container.
                    slot.add_shared(&shared, usage).map_err(|_| EINVAL)?;
                    return Ok(id);
                }
                Err(unarmed) => fence = unarmed,
            }
            drop(locked);
            let spare = SpareBlock::new(GFP_KERNEL_ACCOUNT)?;
            self.0.target().state.lock().table.spare = Some(spare);
        }
    }

    /// Gives a fence an ID, and starts its time. Fails if that needs a spare block.
    fn arm(&self, names: &DmaFenceNames, fence: Unarmed) -> Result<(u32, ARef<DmaFence>), Unarmed> {
        let mut state = self.0.target().state.lock();
        let Some((id, slot)) = state.table.vacancy() else {
            return Err(fence);
        };
        // Fences are signaled in any order, so each has its own timeline.
        let fence = DmaFenceCtx::new(names.into()).arm_last(fence);
        let deadline = Instant::now().saturating_add(TIMEOUT);
        fence.data().set(Some(deadline));
        let shared = ARef::from(&*fence);
        *slot = Some(Some(fence));
        if !core::mem::replace(&mut state.armed, true) {
            self.0.restart(TIMEOUT);
        }
        Ok((id, shared))
    }

    /// Signals a fence, and gives up its ID.
    pub(crate) fn signal(&self, id: u32) -> Result {
        let mut state = self.0.target().state.lock();
        let fence = state.table.remove(id).ok_or(ENOENT)?;
        let expiring = state.expiring.as_ref().filter(|_| fence.is_none()).cloned();
        drop(state);
        // The client relies on an expired fence being signaled, so wait until the timer did that.
        expiring.map_or(Ok(()), |expiring| expiring.wait())?;
        fence.ok_or(ETIMEDOUT)?.signal(Ok(()));
        Ok(())
    }
}

impl Shared {
    /// Signals fences whose time is up. Returns how long the next one has left, if there is one.
    ///
    /// No more than [`BATCH`] at once, as threads may attach them faster than this signals them.
    fn expire(&self, now: Instant<Monotonic>) -> Option<Delta> {
        for _ in 0..BATCH {
            let mut state = self.state.lock();
            let fence = match state.table.expire(now) {
                Ok(fence) => fence,
                Err(left) => {
                    state.armed = left.is_some();
                    return left;
                }
            };
            state.expiring = Some(ARef::from(&*fence));
            // Without the lock, as this calls what others have added to the fence.
            drop(state);
            fence.signal(Ok(()));
        }
        Some(Delta::ZERO)
    }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Shared {
        mode: RelativeSoftMode<Monotonic>, field: self.timer
    }
}

impl HrTimerCallback for Shared {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        let left = this.expire(Instant::now());
        left.map_or(HrTimerRestart::NoRestart, |left| {
            ctx.forward_now(left + SLACK);
            HrTimerRestart::Restart
        })
    }
}
