// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of high resolution timers.

use super::*;
use crate::{
    error::to_result,
    macros::kunit_tests,
    new_spinlock_irq,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        Completion,
        SpinLockIrq, //
    },
    time::{
        sleep::{
            sleep,
            SleepOutcome,
            SleepState, //
        },
        BootTime,
        Monotonic,
        RealTime,
        Tai, //
    },
};
use pin_init::stack_pin_init;

pub(super) const SHORT: Delta = Delta::from_micros(100);
pub(super) const LONG: Delta = Delta::from_secs(1000);
/// Some expiries of a short timer, also if these are a jiffy apart.
const AWHILE: Delta = Delta::from_millis(200);
const HUGE: Delta = Delta::from_nanos(i64::MAX);

pub(super) type Context<'a> = HrTimerCallbackContext<'a, Probe>;
pub(super) type Act = fn(ArcBorrow<'_, Probe>, &mut Context<'_>) -> HrTimerRestart;

/// A timer whose callback does what a test wants.
#[pin_data]
pub(super) struct Probe {
    #[pin]
    pub(super) timer: HrTimer<Self>,
    #[pin]
    pub(super) kept: SpinLockIrq<Option<ArcHrTimerHandle<Self>>>,
    #[pin]
    pub(super) done: Completion,
    pub(super) calls: Atomic<i32>,
    pub(super) seen: Atomic<i64>,
    act: Act,
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Probe { mode: RelativeSoftMode<Monotonic>, field: self.timer }
}

impl HrTimerCallback for Probe {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        this.calls.fetch_add(1, Relaxed);
        let restart = (this.act)(this, &mut ctx);
        this.done.complete_all();
        restart
    }
}

impl Probe {
    pub(super) fn new(act: Act) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                timer <- HrTimer::new(),
                kept <- new_spinlock_irq!(None),
                done <- Completion::new(),
                calls: Atomic::new(0),
                seen: Atomic::new(0),
                act,
            }),
            GFP_KERNEL,
        )
    }

    pub(super) fn calls(&self) -> i32 {
        self.calls.load(Relaxed)
    }

    /// Waits until the callback has run, and has had the time to run again.
    pub(super) fn settle(&self) {
        self.done.wait_for_completion();
        pause(Delta::from_millis(3));
        until(|| !self.timer.is_callback_running());
    }
}

pub(super) fn stop(_: ArcBorrow<'_, Probe>, _: &mut Context<'_>) -> HrTimerRestart {
    HrTimerRestart::NoRestart
}

/// Sleeps for the time at least.
pub(super) fn pause(time: Delta) {
    let end = Instant::<Monotonic>::now() + time;
    while sleep::<AbsoluteMode<Monotonic>>(end, Delta::ZERO, SleepState::Idle)
        != SleepOutcome::Elapsed
    {}
}

/// Waits until something is so, or for some seconds.
pub(super) fn until(good: impl Fn() -> bool) {
    let start = Instant::<Monotonic>::now();
    while !good() && start.elapsed() < Delta::from_secs(10) {
        pause(Delta::from_millis(1));
    }
}

/// Fails unless `good`.
pub(super) fn check(good: bool) -> Result {
    if good {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// Takes the last reference, besides `leaked` ones that were leaked.
///
/// # Safety
///
/// That many references have been leaked, and nothing uses them any more.
pub(super) unsafe fn last<T>(timer: Arc<T>, leaked: usize) -> Result {
    for _ in 0..leaked {
        // SAFETY: By the safety requirements, there is a reference to take over.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(&timer)) });
    }
    check(Arc::into_unique_or_drop(timer).is_some())
}

/// A timer in a box.
#[pin_data]
pub(super) struct Boxed {
    #[pin]
    pub(super) timer: HrTimer<Self>,
    pub(super) kept: Arc<Kept>,
    pub(super) calls: i32,
}

/// Where the callback of a [`Boxed`] finds its handle.
#[pin_data]
pub(super) struct Kept {
    #[pin]
    pub(super) handle:
        SpinLockIrq<Option<BoxHrTimerHandle<Boxed, crate::alloc::allocator::Kmalloc>>>,
    #[pin]
    pub(super) done: Completion,
    pub(super) refused: Atomic<i32>,
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Boxed { mode: RelativeSoftMode<Monotonic>, field: self.timer }
}

impl HrTimerCallback for Boxed {
    type Pointer<'a> = Pin<KBox<Self>>;

    fn run(this: Pin<&mut Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        let this = this.project();
        *this.calls += 1;
        ctx.forward_now(SHORT);

        if let Some(handle) = this.kept.handle.lock().take() {
            let refused = handle.into_pointer().map_err(|handle| {
                this.kept.refused.fetch_add(1, Relaxed);
                if handle.try_cancel() == HrTimerTryCancel::Running {
                    this.kept.refused.fetch_add(1, Relaxed);
                }
            });
            drop(refused);
        }

        this.kept.done.complete_all();
        HrTimerRestart::Restart
    }
}

impl Boxed {
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            timer <- HrTimer::new(),
            kept: Arc::pin_init(
                pin_init!(Kept {
                    handle <- new_spinlock_irq!(None),
                    done <- Completion::new(),
                    refused: Atomic::new(0),
                }),
                GFP_KERNEL,
            )?,
            calls: 0,
        })
    }
}

/// A timer that is used by reference.
#[pin_data]
struct Shared {
    #[pin]
    timer: HrTimer<Self>,
    #[pin]
    done: Completion,
    calls: Atomic<i32>,
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Shared { mode: RelativePinnedMode<Tai>, field: self.timer }
}

impl HrTimerCallback for Shared {
    type Pointer<'a> = Pin<&'a Self>;

    fn run(this: Pin<&Self>, _: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        if this.calls.fetch_add(1, Relaxed) == 0 {
            // It doesn't wait, as it would be for itself.
            this.start_scoped(SHORT, || ());
        }
        this.done.complete_all();
        HrTimerRestart::Restart
    }
}

impl Shared {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            timer <- HrTimer::new(),
            done <- Completion::new(),
            calls: Atomic::new(0),
        })
    }
}

/// A timer that is used by mutable reference.
#[pin_data]
struct Exclusive {
    #[pin]
    timer: HrTimer<Self>,
    calls: i32,
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Exclusive { mode: RelativeMode<RealTime>, field: self.timer }
}

impl HrTimerCallback for Exclusive {
    type Pointer<'a> = Pin<&'a mut Self>;

    fn run(this: Pin<&mut Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        *this.project().calls += 1;
        ctx.forward_now(SHORT);
        HrTimerRestart::Restart
    }
}

/// A timer on a clock that is far from the monotonic one.
#[pin_data]
struct OfDay {
    #[pin]
    timer: HrTimer<Self>,
    forwarded: Arc<Atomic<i64>>,
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for OfDay { mode: AbsoluteMode<RealTime>, field: self.timer }
}

impl HrTimerCallback for OfDay {
    type Pointer<'a> = Pin<KBox<Self>>;

    fn run(this: Pin<&mut Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        this.forwarded.store(ctx.forward_now(SHORT) as i64, Relaxed);
        HrTimerRestart::NoRestart
    }
}

#[kunit_tests(rust_hrtimer)]
mod suite {
    use super::*;

    #[test]
    fn size() {
        assert_eq!(size_of::<HrTimer<Probe>>(), size_of::<bindings::hrtimer>());
    }

    #[test]
    fn expires() -> Result {
        // `Instant` has no order, but its difference has.
        let start = Instant::<Monotonic>::now();
        let timer = KBox::pin_init(Boxed::new(), GFP_KERNEL)?;

        let mut timer = timer
            .start_range(LONG, SHORT)
            .into_pointer()
            .map_err(|_| EBUSY)?;
        let mut inner = timer.as_mut().project().timer;

        let expires = inner.expires();
        assert!(expires - start >= LONG + SHORT);

        // It is long before the expiry, so there is nothing to forward.
        assert_eq!(inner.as_mut().forward(start, SHORT), 0);
        assert_eq!(inner.as_mut().forward_now(SHORT), 0);
        assert_eq!(inner.as_mut().forward(expires, LONG), 1);
        assert_eq!(inner.expires() - expires, LONG);
        assert_eq!(inner.as_mut().forward(expires + LONG * 3, LONG), 3);
        assert_eq!(inner.expires() - expires, LONG * 4);

        // This one is soon over.
        let timer = KBox::pin_init(Boxed::new(), GFP_KERNEL)?;
        let mut timer = timer.start(SHORT).into_pointer().map_err(|_| EBUSY)?;
        let mut inner = timer.as_mut().project().timer;
        let expires = inner.expires();
        pause(SHORT * 20);
        assert_eq!(inner.as_mut().forward_now(LONG), 1);
        assert_eq!(inner.expires() - expires, LONG);

        Ok(())
    }

    #[test]
    fn expires_in_callback() -> Result {
        let timer = Probe::new(|this, ctx| {
            let expires = this.timer.expires();

            match this.calls() {
                1 => {
                    ctx.set_expires(expires + SHORT, Delta::from_nanos(7));
                    if this.timer.expires() - expires != SHORT + Delta::from_nanos(7) {
                        return HrTimerRestart::NoRestart;
                    }
                }
                // It has expired, so it is forwarded.
                2 if ctx.forward_now(SHORT) > 0 && this.timer.expires() - expires >= SHORT => {
                    this.seen.store(1, Relaxed);
                }
                _ => return HrTimerRestart::NoRestart,
            }
            HrTimerRestart::Restart
        })?;

        let handle = timer.clone().start(SHORT);
        until(|| timer.calls() == 3);
        timer.settle();
        drop(handle);

        assert_eq!(timer.calls(), 3);
        assert_eq!(timer.seen.load(Relaxed), 1);
        Ok(())
    }

    // Timers are forwarded to the present of their own clock.
    #[test]
    fn forward_on_own_clock() -> Result {
        let forwarded = Arc::new(Atomic::new(-1), GFP_KERNEL)?;
        let ours = forwarded.clone();
        let timer = KBox::pin_init(
            pin_init!(OfDay {
                timer <- HrTimer::new(),
                forwarded: ours,
            }),
            GFP_KERNEL,
        )?;

        let handle = timer.start(Instant::now());
        until(|| forwarded.load(Relaxed) >= 0);
        let mut timer = handle.into_pointer().map_err(|_| EBUSY)?;
        assert!(forwarded.load(Relaxed) > 0);

        pause(SHORT * 20);
        assert_eq!(timer.as_mut().project().timer.forward_now(LONG), 1);

        Ok(())
    }

    #[test]
    fn slack_to_the_end() -> Result {
        let probe = Probe::new(|this, ctx| {
            if this.calls() > 1 {
                return HrTimerRestart::NoRestart;
            }
            ctx.set_expires(Instant::now(), HUGE);
            HrTimerRestart::Restart
        })?;

        // It is queued, or some other timer made it expire early.
        let handle = probe.clone().start(SHORT);
        probe.settle();
        assert!(probe.timer.is_active() || probe.calls() == 2);
        drop(handle);

        let probe = Probe::new(stop)?;
        let ours = probe.clone();
        let timer = KBox::pin_init(
            HrTimerFn::<_, RelativePinnedHardMode<Tai>>::new(move || {
                match ours.calls.fetch_add(1, Relaxed) {
                    0 => HrTimerNext::After(SHORT),
                    _ => HrTimerNext::Done,
                }
            }),
            GFP_KERNEL,
        )?;

        // No other timer is in its queue, so the next interrupt of the CPU makes it expire.
        let handle = timer.start_range(SHORT, HUGE);
        until(|| probe.calls() == 2);
        assert_eq!(probe.calls(), 2);
        drop(handle);
        Ok(())
    }

    #[test]
    fn set_after_start_in_callback() -> Result {
        let timer = Probe::new(|this, ctx| {
            let handle = Arc::from(this).start(LONG);
            let expires = this.timer.expires();

            ctx.set_expires(Instant::now(), Delta::ZERO);
            let forwarded = ctx.forward(expires, SHORT);
            if forwarded == 0 && this.timer.expires() - expires == Delta::ZERO {
                this.seen.store(1, Relaxed);
            }

            *this.kept.lock() = Some(handle);
            HrTimerRestart::Restart
        })?;

        let handle = timer.clone().start(SHORT);
        timer.settle();
        assert_eq!(timer.calls(), 1);
        assert_eq!(timer.seen.load(Relaxed), 1);
        assert!(timer.timer.is_queued());

        let other = timer.kept.lock().take();
        drop(other);
        assert!(!timer.timer.is_active());
        drop(handle);

        // SAFETY: Nothing was leaked.
        unsafe { last(timer, 0) }
    }

    #[test]
    fn bad_expiry() -> Result {
        let timer = Probe::new(stop)?;

        for (delta, slack) in [
            (Delta::ZERO, Delta::ZERO),
            (Delta::from_nanos(-1), Delta::from_nanos(-1)),
            (Delta::from_nanos(i64::MIN), Delta::from_nanos(i64::MIN)),
        ] {
            let calls = timer.calls();
            let handle = timer.clone().start_range(delta, slack);
            until(|| timer.calls() > calls);
            assert_eq!(timer.calls(), calls + 1);
            drop(handle);
        }

        for (delta, slack) in [(HUGE, Delta::ZERO), (HUGE, HUGE), (LONG, HUGE)] {
            let calls = timer.calls();
            let mut handle = timer.clone().start_range(delta, slack);
            assert!(handle.timer().remaining() > LONG);
            assert!(handle.cancel());
            assert_eq!(timer.calls(), calls);
        }

        Ok(())
    }

    #[test]
    fn absolute() -> Result {
        for at in [
            Instant::<RealTime>::now(),
            Instant::now().saturating_add(Delta::from_nanos(i64::MIN)),
            Instant::now().saturating_add(SHORT),
        ] {
            let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
            let ours = done.clone();
            let timer = KBox::pin_init(
                HrTimerFn::<_, AbsolutePinnedSoftMode<RealTime>>::new(move || {
                    ours.complete_all();
                    HrTimerNext::Done
                }),
                GFP_KERNEL,
            )?;
            let _handle = timer.start(at);
            done.wait_for_completion();
        }

        Ok(())
    }

    // A timer runs on the clock of its mode, and no two clocks have the same timers.
    #[test]
    fn clocks() -> Result {
        fn run<C: ClockSource + 'static>() -> Result<(Delta, *mut bindings::hrtimer_clock_base)> {
            let timer = HrTimerFn::<_, AbsolutePinnedMode<C>>::new(|| HrTimerNext::Done);
            let timer = KBox::pin_init(timer, GFP_KERNEL)?;
            let handle = timer.start(Instant::<C>::now() + LONG);
            // SAFETY: The timer is initialized.
            let base = unsafe { (*HrTimer::raw_get(handle.timer())).base };
            Ok((handle.timer().remaining(), base))
        }

        /// Sets how far TAI is ahead of the time of day, in seconds, and returns how far it was.
        fn set_tai(ahead: i32) -> Result<i32> {
            let mut timex = bindings::__kernel_timex::default();
            // SAFETY: `timex` is valid.
            to_result(unsafe { bindings::do_adjtimex(&mut timex) })?;
            let before = timex.tai;
            timex.modes = bindings::ADJ_TAI;
            timex.constant = ahead.into();
            // SAFETY: Likewise.
            to_result(unsafe { bindings::do_adjtimex(&mut timex) })?;
            Ok(before)
        }

        let before = set_tai(10_000)?;
        let clocks = [
            run::<Monotonic>(),
            run::<RealTime>(),
            run::<BootTime>(),
            run::<Tai>(),
        ];
        set_tai(before)?;

        let mut bases = KVec::new();
        for clock in clocks {
            let (remaining, base) = clock?;
            assert!(remaining <= LONG && remaining > LONG - Delta::from_secs(500));
            assert!(!bases.contains(&base));
            bases.push(base, GFP_KERNEL)?;
        }
        Ok(())
    }

    #[test]
    fn relative_real_time() -> Result {
        stack_pin_init!(let timer = pin_init!(Exclusive { timer <- HrTimer::new(), calls: 0 }));

        // SAFETY: The handle is not leaked, and this is not the callback.
        let handle = unsafe { UnsafeHrTimerPointer::start(timer, SHORT) };
        pause(AWHILE);
        // It runs on the monotonic clock, and is not put off to the time since 1970.
        assert!(handle.timer().remaining() < LONG);
        handle.restart(SHORT);

        let timer = handle.into_pointer().map_err(|_| EBUSY)?;
        assert!(timer.calls >= 2);
        Ok(())
    }

    #[test]
    fn state() -> Result {
        let timer = Probe::new(|this, _| {
            let timer = &this.timer;
            this.seen.store(
                i64::from(timer.is_active() && timer.is_callback_running() && !timer.is_queued()),
                Relaxed,
            );
            HrTimerRestart::NoRestart
        })?;
        let state = |t: &HrTimer<Probe>| (t.is_active(), t.is_queued(), t.is_callback_running());

        assert_eq!(state(&timer.timer), (false, false, false));
        assert!(timer.timer.remaining() < Delta::ZERO);

        let mut handle = timer.clone().start_range(LONG, LONG);
        assert_eq!(state(handle.timer()), (true, true, false));
        assert!(handle.timer().remaining() > LONG * 2 - Delta::from_secs(100));
        assert!(handle.timer().remaining() <= LONG * 2);

        assert!(handle.cancel());
        assert_eq!(state(handle.timer()), (false, false, false));

        handle.restart(SHORT);
        handle.target().settle();
        assert_eq!(timer.seen.load(Relaxed), 1);
        assert_eq!(state(handle.timer()), (false, false, false));
        assert!(handle.timer().remaining() < Delta::ZERO);
        Ok(())
    }

    #[test]
    fn cancel() -> Result {
        let timer = Probe::new(stop)?;
        let mut handle = timer.clone().start(LONG);

        assert_eq!(handle.try_cancel(), HrTimerTryCancel::Cancelled);
        assert_eq!(handle.try_cancel(), HrTimerTryCancel::Stopped);
        assert!(!handle.cancel());

        handle.restart(LONG);
        assert!(handle.cancel());
        assert!(!handle.cancel());

        assert_eq!(timer.calls(), 0);
        Ok(())
    }

    #[test]
    fn restart() -> Result {
        let timer = Probe::new(stop)?;

        // From started, with a new time.
        let handle = timer.clone().start(LONG);
        handle.restart(SHORT);
        timer.settle();
        assert_eq!(timer.calls(), 1);

        // From stopped.
        handle.restart_range(SHORT, SHORT);
        until(|| timer.calls() == 2);
        assert_eq!(timer.calls(), 2);

        handle.restart(AWHILE);
        handle.restart_range(LONG, LONG);
        pause(AWHILE * 2);
        assert_eq!(timer.calls(), 2);
        assert!(timer.timer.is_queued());
        assert!(timer.timer.remaining() > LONG);

        drop(handle);
        assert!(!timer.timer.is_active());
        // SAFETY: Nothing was leaked.
        unsafe { last(timer, 0) }
    }

    #[test]
    fn pointer_comes_back() -> Result {
        let timer = Probe::new(stop)?;
        let address = Arc::as_ptr(&timer);

        let handle = timer.start(LONG);
        assert!(core::ptr::eq(Arc::as_ptr(handle.target()), address));
        let timer = handle.into_pointer().map_err(|_| EBUSY)?;
        assert!(!timer.timer.is_active());

        // SAFETY: Nothing was leaked.
        unsafe { last(timer, 0)? };

        let timer = KBox::pin_init(Boxed::new(), GFP_KERNEL)?;
        let kept = timer.kept.clone();
        let handle = timer.start(SHORT);
        kept.done.wait_for_completion();
        // It would go on for ever.
        let timer = handle.into_pointer().map_err(|_| EBUSY)?;
        assert!(timer.calls >= 1);
        let timer = timer.start(LONG).into_pointer().map_err(|_| EBUSY)?;
        assert!(!timer.timer.is_active());
        Ok(())
    }

    #[test]
    fn handles_in_any_order() -> Result {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let timer = Probe::new(stop)?;
            let mut handles = [
                Some(timer.clone().start(LONG)),
                Some(timer.clone().start(LONG * 2)),
                Some(timer.clone().start(LONG)),
            ];

            for i in order {
                // Each of them cancels the timer, no matter who has started it.
                handles[i] = None;
                assert!(!timer.timer.is_active());
                for handle in handles.iter_mut().flatten() {
                    handle.restart(LONG);
                }
            }

            assert_eq!(timer.calls(), 0);
            // SAFETY: Nothing was leaked.
            unsafe { last(timer, 0)? };
        }

        Ok(())
    }

    #[test]
    fn on_stack() -> Result {
        // The same place on the stack, more than once.
        for _ in 0..3 {
            stack_pin_init!(let timer = Shared::new());
            let timer = timer.into_ref();

            timer.start_scoped(SHORT, || timer.done.wait_for_completion());
            // The callback has cancelled the timer.
            assert_eq!(timer.calls.load(Relaxed), 1);
            assert!(!timer.timer.is_active());

            timer.start_scoped(LONG, || assert!(timer.timer.is_queued()));
            assert!(!timer.timer.is_active());

            // Likewise by mutable reference.
            stack_pin_init!(let timer = pin_init!(Exclusive { timer <- HrTimer::new(), calls: 0 }));
            timer.as_mut().start_scoped(LONG, || ());
            assert!(!timer.timer.is_active());
        }

        Ok(())
    }

    #[test]
    fn handle_before_start() -> Result {
        // It need not be started at all.
        drop(ArcHrTimerHandle::new(Probe::new(stop)?));

        let handle = ArcHrTimerHandle::new(Probe::new(stop)?);
        pause(Delta::from_millis(3));
        assert_eq!(handle.target().calls(), 0);

        // From stopped, from started with another time, and from stopped again.
        handle.restart(LONG);
        handle.restart(SHORT);
        handle.target().settle();
        assert_eq!(handle.target().calls(), 1);
        handle.restart(SHORT);
        until(|| handle.target().calls() == 2);
        assert_eq!(handle.target().calls(), 2);

        handle.restart(LONG);
        let timer = handle.target().clone();
        drop(handle);
        // SAFETY: Nothing was leaked.
        unsafe { last(timer, 0) }
    }

    #[test]
    fn closures() -> Result {
        let probe = Probe::new(stop)?;

        let ours = probe.clone();
        let timer = KBox::pin_init(
            HrTimerFn::<_, RelativeMode<RealTime>>::new(move || {
                match ours.calls.fetch_add(1, Relaxed) {
                    0 => HrTimerNext::After(Delta::from_nanos(i64::MIN)),
                    1 => HrTimerNext::After(SHORT),
                    2 => HrTimerNext::At(Instant::now().saturating_add(Delta::from_secs(-1000))),
                    3 => HrTimerNext::After(LONG),
                    _ => HrTimerNext::At(Instant::now() + LONG),
                }
            }),
            GFP_KERNEL,
        )?;
        let handle = timer.start(SHORT);
        until(|| probe.calls() == 4 && handle.timer().is_queued());
        assert_eq!(probe.calls(), 4);
        assert!(handle.timer().is_queued());

        // The first and the second time are over.
        handle.restart(SHORT);
        until(|| probe.calls() == 5 && handle.timer().is_queued());
        assert_eq!(probe.calls(), 5);
        assert!(handle.timer().remaining() > LONG - Delta::from_secs(100));

        // The closure is dropped with the box.
        drop(handle);
        // SAFETY: Nothing was leaked.
        unsafe { last(probe, 0) }
    }

    #[test]
    fn closure_never() -> Result {
        let probe = Probe::new(stop)?;

        let ours = probe.clone();
        let timer = KBox::pin_init(
            HrTimerFn::<_, RelativeMode<Monotonic>>::new(move || {
                ours.done.complete_all();
                HrTimerNext::After(HUGE)
            }),
            GFP_KERNEL,
        )?;
        let handle = timer.start(SHORT);
        probe.done.wait_for_completion();
        until(|| !handle.timer().is_callback_running());
        // The end of time is not reached.
        assert!(!handle.timer().is_active());
        Ok(())
    }
}
