// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of high resolution timers, and of sleeping on them.

use super::*;
use crate::{
    macros::kunit_tests,
    new_spinlock_irq,
    processor::cpu_relax,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::Full,
        Arc,
        ArcBorrow,
        Completion,
        Refcount,
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
    workqueue, //
};
use pin_init::stack_pin_init;

const SHORT: Delta = Delta::from_micros(100);
const LONG: Delta = Delta::from_secs(1000);
/// Some expiries of a short timer, also if these are a jiffy apart.
const AWHILE: Delta = Delta::from_millis(200);
const HUGE: Delta = Delta::from_nanos(i64::MAX);

type Context<'a> = HrTimerCallbackContext<'a, Probe>;
type Act = fn(ArcBorrow<'_, Probe>, &mut Context<'_>) -> HrTimerRestart;

/// A timer whose callback does what a test wants.
#[pin_data]
struct Probe {
    #[pin]
    timer: HrTimer<Self>,
    #[pin]
    kept: SpinLockIrq<Option<ArcHrTimerHandle<Self>>>,
    #[pin]
    done: Completion,
    calls: Atomic<i32>,
    seen: Atomic<i64>,
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
    fn new(act: Act) -> Result<Arc<Self>> {
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

    fn calls(&self) -> i32 {
        self.calls.load(Relaxed)
    }

    /// Waits until the callback has run, and has had the time to run again.
    fn settle(&self) {
        self.done.wait_for_completion();
        pause(Delta::from_millis(3));
        until(|| !self.timer.is_callback_running());
    }
}

fn stop(_: ArcBorrow<'_, Probe>, _: &mut Context<'_>) -> HrTimerRestart {
    HrTimerRestart::NoRestart
}

/// Sleeps for the time at least.
fn pause(time: Delta) {
    let end = Instant::<Monotonic>::now() + time;
    while sleep::<AbsoluteMode<Monotonic>>(end, Delta::ZERO, SleepState::Idle)
        != SleepOutcome::Elapsed
    {}
}

/// Waits until something is so, or for some seconds.
fn until(good: impl Fn() -> bool) {
    let start = Instant::<Monotonic>::now();
    while !good() && start.elapsed() < Delta::from_secs(10) {
        pause(Delta::from_millis(1));
    }
}

/// Fails unless `good`.
fn check(good: bool) -> Result {
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
unsafe fn last<T>(timer: Arc<T>, leaked: usize) -> Result {
    for _ in 0..leaked {
        // SAFETY: By the safety requirements, there is a reference to take over.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(&timer)) });
    }
    check(Arc::into_unique_or_drop(timer).is_some())
}

/// A timer in a box.
#[pin_data]
struct Boxed {
    #[pin]
    timer: HrTimer<Self>,
    kept: Arc<Kept>,
    calls: i32,
}

/// Where the callback of a [`Boxed`] finds its handle.
#[pin_data]
struct Kept {
    #[pin]
    handle: SpinLockIrq<Option<BoxHrTimerHandle<Boxed, crate::alloc::allocator::Kmalloc>>>,
    #[pin]
    done: Completion,
    refused: Atomic<i32>,
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
            let refused = handle
                .dismiss()
                .or_else(|handle| {
                    this.kept.refused.fetch_add(1, Relaxed);
                    handle.into_pointer()
                })
                .map_err(|mut handle| {
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
    fn new() -> impl PinInit<Self, Error> {
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

/// A timer that is counted by its own reference count.
#[pin_data]
struct Counted {
    #[pin]
    timer: HrTimer<Self>,
    #[pin]
    done: Completion,
    refs: Refcount,
}

// SAFETY: An object is freed when the count gets to zero.
unsafe impl AlwaysRefCounted for Counted {
    fn inc_ref(&self) {
        self.refs.inc();
    }

    unsafe fn dec_ref(this: NonNull<Self>) {
        // SAFETY: There is a reference, so the object is valid.
        if unsafe { this.as_ref() }.refs.dec_and_test() {
            // SAFETY: It was the last one, and `Counted::new()` got the pointer from a `KBox`.
            drop(unsafe { KBox::from_raw(this.as_ptr()) });
        }
    }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Counted { mode: RelativeSoftMode<BootTime>, field: self.timer }
}

impl HrTimerCallback for Counted {
    type Pointer<'a> = ARef<Self>;

    fn run(this: &Self, _: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        let this = ARef::from(this);
        this.done.complete_all();
        HrTimerRestart::NoRestart
    }
}

impl Counted {
    fn new() -> Result<ARef<Self>> {
        let this = KBox::pin_init(
            pin_init!(Self {
                timer <- HrTimer::new(),
                done <- Completion::new(),
                refs: Refcount::new(1),
            }),
            GFP_KERNEL,
        )?;

        // SAFETY: It is not moved out of the box.
        let this = KBox::into_raw(unsafe { Pin::into_inner_unchecked(this) });
        // SAFETY: The pointer is from a box, and the object has one reference.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(this)) })
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

#[kunit_tests(rust_hrtimer)]
mod suite {
    use super::*;

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

        let soft = inner.as_mut().soft_expires();
        assert!(soft - start >= LONG);
        assert_eq!(inner.as_mut().expires() - soft, SHORT);

        // It is long before the expiry, so there is nothing to forward.
        assert_eq!(inner.as_mut().forward(start, SHORT), 0);
        assert_eq!(inner.as_mut().forward(soft + SHORT, LONG), 1);
        assert_eq!(inner.as_mut().soft_expires() - soft, LONG);

        Ok(())
    }

    #[test]
    fn expires_in_callback() -> Result {
        let timer = Probe::new(|this, ctx| {
            let expires = ctx.expires();
            let slack = expires - ctx.soft_expires();

            if this.calls() == 1 {
                ctx.set_expires(expires, slack * 2);
                return HrTimerRestart::Restart;
            }
            this.seen.store(slack.as_nanos(), Relaxed);
            HrTimerRestart::NoRestart
        })?;

        let handle = timer.clone().start_range(SHORT, Delta::from_nanos(7));
        timer.settle();
        drop(handle);

        assert_eq!(timer.calls(), 2);
        assert_eq!(timer.seen.load(Relaxed), 14);
        Ok(())
    }

    #[test]
    fn set_after_start_in_callback() -> Result {
        let timer = Probe::new(|this, ctx| {
            let handle = Arc::from(this).start(LONG);
            let expires = ctx.expires();

            let set = ctx.set_expires(Instant::now(), Delta::ZERO);
            let forwarded = ctx.forward(expires, SHORT);
            if !set && forwarded == 0 && ctx.expires() - expires == Delta::ZERO {
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
                HrTimerFnMut::<_, AbsolutePinnedSoftMode<RealTime>>::new(move || {
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

    #[test]
    fn relative_real_time() -> Result {
        stack_pin_init!(let timer = pin_init!(Exclusive { timer <- HrTimer::new(), calls: 0 }));

        // SAFETY: The handle is not leaked, and this is not the callback.
        let mut handle = unsafe { UnsafeHrTimerPointer::start(timer, SHORT) };
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

        let mut handle = timer.clone().start_range(LONG, SHORT);
        assert_eq!(state(handle.timer()), (true, true, false));
        assert!(handle.timer().remaining() > LONG - Delta::from_secs(100));
        assert!(handle.timer().remaining() <= LONG + SHORT);

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
        let mut handle = timer.clone().start(LONG);
        handle.restart(SHORT);
        timer.settle();
        assert_eq!(timer.calls(), 1);

        // From stopped.
        handle.restart_range(SHORT, SHORT);
        until(|| timer.calls() == 2);
        assert_eq!(timer.calls(), 2);

        handle.restart(AWHILE);
        handle.restart(LONG);
        pause(AWHILE * 2);
        assert_eq!(timer.calls(), 2);
        assert!(timer.timer.is_queued());

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

        // A timer that is started can't be dismissed, one that has expired can.
        let Err(mut handle) = timer.clone().start(LONG).dismiss() else {
            return Err(EINVAL);
        };
        handle.restart(SHORT);
        timer.settle();
        let other = handle.dismiss().map_err(|_| EBUSY)?;
        assert_eq!(timer.calls(), 1);
        drop(other);
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
    fn callback_drops_its_handle() -> Result {
        let timer = Probe::new(|this, _| {
            let handle = this.kept.lock().take();
            drop(handle);
            HrTimerRestart::Restart
        })?;

        let handle = timer.clone().start(LONG);
        let mut kept = timer.kept.lock();
        kept.insert(handle).restart(SHORT);
        drop(kept);

        timer.settle();
        assert_eq!(timer.calls(), 1);
        assert!(!timer.timer.is_active());
        // SAFETY: It is the one that the callback dropped.
        unsafe { last(timer, 1) }
    }

    #[test]
    fn callback_drops_a_new_handle() -> Result {
        let timer = Probe::new(|this, _| {
            drop(Arc::from(this).start(SHORT));
            HrTimerRestart::Restart
        })?;

        let handle = timer.clone().start(SHORT);
        timer.settle();
        assert_eq!(timer.calls(), 1);
        assert!(!timer.timer.is_active());

        drop(handle);
        // SAFETY: It is the one that the callback dropped.
        unsafe { last(timer, 1) }
    }

    #[test]
    fn callback_cancels_and_restarts() -> Result {
        let timer = Probe::new(|this, _| {
            let Some(ref mut handle) = *this.kept.lock() else {
                return HrTimerRestart::NoRestart;
            };

            if handle.try_cancel() == HrTimerTryCancel::Running && !handle.cancel() {
                this.seen.fetch_add(1, Relaxed);
            }
            if this.calls() == 1 {
                handle.restart(SHORT);
                HrTimerRestart::NoRestart
            } else {
                HrTimerRestart::Restart
            }
        })?;

        let handle = timer.clone().start(LONG);
        timer.kept.lock().insert(handle).restart(SHORT);
        until(|| timer.calls() == 2);
        timer.settle();
        let handle = timer.kept.lock().take();
        drop(handle);
        assert_eq!(timer.calls(), 2);
        assert_eq!(timer.seen.load(Relaxed), 2);

        // SAFETY: Nothing was leaked.
        unsafe { last(timer, 0) }
    }

    #[test]
    fn callback_drops_its_box() -> Result {
        let timer = KBox::pin_init(Boxed::new(), GFP_KERNEL)?;
        let kept = timer.kept.clone();
        let address = &raw const *timer;

        let handle = timer.start(LONG);
        kept.handle.lock().insert(handle).restart(SHORT);
        kept.done.wait_for_completion();
        pause(Delta::from_millis(3));
        assert_eq!(kept.refused.load(Relaxed), 3);

        // SAFETY: The callback has dropped the handle, so the box was leaked. It came from
        // `KBox::pin_init()`. The callback isn't running, and isn't called again.
        let timer = unsafe { KBox::from_raw(address.cast_mut()) };
        assert_eq!(timer.calls, 1);
        assert!(!timer.timer.is_active());
        Ok(())
    }

    #[test]
    fn on_stack() -> Result {
        // The same place on the stack, more than once.
        for _ in 0..3 {
            stack_pin_init!(let timer = Shared::new());
            let timer = timer.into_ref();

            timer.start_range_scoped(SHORT, SHORT, || timer.done.wait_for_completion());
            // The callback has cancelled the timer.
            assert_eq!(timer.calls.load(Relaxed), 1);
            assert!(!timer.timer.is_active());

            timer.start_scoped(LONG, || assert!(timer.timer.is_queued()));
            assert!(!timer.timer.is_active());
        }

        Ok(())
    }

    #[test]
    fn own_count() -> Result {
        let timer = Counted::new()?;

        let mut handle = timer.clone().start(SHORT);
        timer.done.wait_for_completion();
        handle.restart(LONG);
        assert!(core::ptr::eq(
            &raw const **handle.target(),
            &raw const *timer
        ));

        let Err(handle) = handle.dismiss() else {
            return Err(EINVAL);
        };
        assert_eq!(timer.refs.as_atomic().load(Relaxed), 2);
        drop(handle);
        assert!(!timer.timer.is_active());
        assert_eq!(timer.refs.as_atomic().load(Relaxed), 1);

        let timer = timer.start(LONG).into_pointer().map_err(|_| EBUSY)?;
        assert_eq!(timer.refs.as_atomic().load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn closures() -> Result {
        let probe = Probe::new(stop)?;

        let ours = probe.clone();
        let timer = Arc::pin_init(
            HrTimerFn::<_, RelativeMode<RealTime>>::new(move || {
                match ours.calls.fetch_add(1, Relaxed) {
                    0 => HrTimerNext::After(Delta::from_nanos(i64::MIN)),
                    1 => HrTimerNext::After(SHORT),
                    2 => HrTimerNext::At(Instant::now().saturating_add(Delta::from_secs(-1000))),
                    _ => HrTimerNext::After(HUGE),
                }
            }),
            GFP_KERNEL,
        )?;
        let mut handle = timer.start(SHORT);
        until(|| probe.calls() == 4 && handle.timer().is_queued());
        assert_eq!(probe.calls(), 4);
        assert!(handle.timer().is_queued());

        // The first and the second time are over.
        handle.restart(SHORT);
        until(|| probe.calls() == 5);
        assert_eq!(probe.calls(), 5);
        Ok(())
    }

    // The callback runs in the interrupt of another thread, on its CPU if there are several. What
    // drops the handle meanwhile waits until it has returned.
    #[test]
    fn drop_waits() -> Result {
        for _ in 0..20 {
            let timer = Probe::new(|this, _| {
                let start = Instant::<Monotonic>::now();
                // Where time does not go on meanwhile, this comes to an end all the same.
                for _ in 0..1_000_000 {
                    if start.elapsed() > Delta::from_millis(5) {
                        break;
                    }
                    cpu_relax();
                }
                this.seen.store(1, Release);
                HrTimerRestart::NoRestart
            })?;

            let other = timer.clone();
            workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
                let mut kept = other.kept.lock();
                *kept = Some(other.clone().start(SHORT));
                drop(kept);

                for _ in 0..1_000_000 {
                    if other.calls() != 0 {
                        break;
                    }
                    cpu_relax();
                }
            })?;

            until(|| timer.calls() != 0);
            let handle = timer.kept.lock().take();
            check(handle.is_some())?;
            drop(handle);
            assert_eq!(timer.seen.load(Acquire), 1);
        }

        Ok(())
    }

    #[test]
    fn race() -> Result {
        const THREADS: i32 = 4;
        const ROUNDS: i32 = 25_000;

        let timer = Probe::new(|_, ctx| {
            // Not so soon that interrupts take all of the time.
            ctx.forward_now(SHORT * 10);
            HrTimerRestart::Restart
        })?;
        let all = Probe::new(stop)?;

        for thread in 0..THREADS {
            let timer = timer.clone();
            let all = all.clone();

            workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
                let mut handle = timer.clone().start(LONG);

                for round in 0..ROUNDS {
                    let delta = Delta::from_nanos(i64::from(round % 4) * 1000);
                    match (thread + round) % 5 {
                        0 => handle.restart(delta),
                        1 => {
                            handle.cancel();
                        }
                        2 => {
                            handle.try_cancel();
                        }
                        3 => handle = timer.clone().start_range(delta, delta),
                        _ => match handle.dismiss() {
                            Ok(timer) => handle = timer.start(delta),
                            Err(active) => handle = active,
                        },
                    }
                    // So that it expires even if time only goes on when nobody runs.
                    if round % 5_000 == 0 {
                        handle.restart(delta);
                        pause(SHORT);
                    }
                    // Neither of them hangs or complains.
                    timer.timer.remaining();
                    timer.timer.is_active();
                }

                drop(handle);
                if all.calls.fetch_add(1, Full) == THREADS - 1 {
                    all.done.complete_all();
                }
            })?;
        }

        all.done.wait_for_completion();
        let calls = timer.calls();
        assert!(calls > 0);
        assert!(!timer.timer.is_active());
        pause(Delta::from_millis(2));
        assert_eq!(timer.calls(), calls);
        Ok(())
    }

    /// Whether time goes on without the CPU doing so, as with `time-travel=inf-cpu`.
    fn simulated() -> bool {
        let start = Instant::<Monotonic>::now();
        for _ in 0..1_000_000 {
            cpu_relax();
        }
        start.elapsed() < Delta::from_micros(20)
    }

    #[test]
    fn sleep_is_accurate() -> Result {
        // Reading the clock takes time even where nothing else does. Elsewhere it depends on what
        // else the system does, so that the best of some has to do.
        let (tries, mut error) = if simulated() {
            (1, Delta::from_micros(10))
        } else {
            (20, Delta::from_millis(5))
        };
        if !cfg!(CONFIG_HIGH_RES_TIMERS) {
            // Timers expire with the tick.
            error += Delta::from_nanos(i64::from(bindings::TICK_NSEC)) * 2;
        }

        for nanos in [1, 1_000, 50_000, 1_000_000, 3_333_333, 10_000_000] {
            for slack in [0, 1, 70_000, 2_000_000] {
                let time = Delta::from_nanos(nanos);
                let slack = Delta::from_nanos(slack);
                let mut best = HUGE;

                for _ in 0..tries {
                    let start = Instant::<Monotonic>::now();
                    let outcome =
                        sleep::<RelativeMode<Monotonic>>(time, slack, SleepState::Uninterruptible);
                    let slept = start.elapsed();

                    if outcome == SleepOutcome::Elapsed {
                        assert!(slept >= time);
                        best = best.min(slept);
                    }
                    if best <= time + slack + error {
                        break;
                    }
                }

                assert!(best <= time + slack + error);
            }
        }

        Ok(())
    }

    #[test]
    fn sleep_until() -> Result {
        let end = Instant::<BootTime>::now() + Delta::from_millis(2);
        let outcome = sleep::<AbsoluteMode<BootTime>>(end, SHORT, SleepState::Idle);
        assert!(outcome != SleepOutcome::Elapsed || end.elapsed() >= Delta::ZERO);

        let end = Instant::<Tai>::now() + SHORT;
        let outcome = sleep::<AbsolutePinnedSoftMode<Tai>>(end, SHORT, SleepState::Killable);
        assert!(outcome != SleepOutcome::Elapsed || end.elapsed() >= Delta::ZERO);
        Ok(())
    }

    #[test]
    fn sleep_bad_expiry() -> Result {
        let past = Instant::<RealTime>::now().saturating_add(Delta::from_secs(-1));
        let start = Instant::<RealTime>::now().saturating_add(Delta::from_nanos(i64::MIN));

        for state in [
            SleepState::Interruptible,
            SleepState::Killable,
            SleepState::Uninterruptible,
            SleepState::Idle,
        ] {
            for time in [0, -1, i64::MIN] {
                for slack in [Delta::ZERO, Delta::from_nanos(i64::MIN), HUGE] {
                    let time = Delta::from_nanos(time);
                    let outcome = sleep::<RelativeMode<Monotonic>>(time, slack, state);
                    assert_eq!(outcome, SleepOutcome::Elapsed);
                }
            }
            // With slack, it might be that late.
            for slack in [Delta::ZERO, Delta::from_nanos(i64::MIN)] {
                for time in [past, start] {
                    let outcome = sleep::<AbsoluteMode<RealTime>>(time, slack, state);
                    assert_eq!(outcome, SleepOutcome::Elapsed);
                }
            }
        }

        Ok(())
    }

    #[test]
    fn sleep_ends_early() -> Result {
        let probe = Probe::new(stop)?;
        let waker = probe.clone();
        let task: ARef<Task> = ARef::from(&**crate::current!());

        // Until it has got about, as the task may not be asleep yet.
        let wake = Arc::pin_init(
            HrTimerFn::<_, RelativeMode<Monotonic>>::new(move || {
                if waker.seen.load(Relaxed) != 0 {
                    return HrTimerNext::Done;
                }
                task.wake_up();
                HrTimerNext::After(SHORT)
            }),
            GFP_KERNEL,
        )?;

        let handle = wake.clone().start(SHORT);
        let outcome = sleep::<RelativeMode<Monotonic>>(HUGE, HUGE, SleepState::Uninterruptible);
        assert_eq!(outcome, SleepOutcome::Woken);
        let outcome = sleep::<RelativeMode<Monotonic>>(LONG, Delta::ZERO, SleepState::Killable);
        assert_eq!(outcome, SleepOutcome::Woken);
        probe.seen.store(1, Relaxed);
        drop(handle);
        drop(wake);

        Ok(())
    }

    #[test]
    fn sleep_is_interrupted() -> Result {
        let task = Task::current_raw();
        let signal = bindings::SIGUSR1 as c_int;

        // SAFETY: This is `allow_signal()`: `SIG_KTHREAD` is the value 2. The task is the current
        // one, so it is valid, and `send_sig()` with 1 sends a signal of the kernel.
        let sent = unsafe {
            bindings::kernel_sigaction(
                signal,
                core::mem::transmute::<usize, bindings::__sighandler_t>(2),
            );
            bindings::send_sig(signal, task, 1)
        };
        let interrupted = sleep::<RelativeMode<Monotonic>>(LONG, SHORT, SleepState::Interruptible);
        let killable = sleep::<RelativeMode<Monotonic>>(SHORT, SHORT, SleepState::Killable);

        // SAFETY: The task is the current one. This is `disallow_signal()`: `SIG_IGN` is 1.
        unsafe {
            bindings::kernel_sigaction(
                signal,
                core::mem::transmute::<usize, bindings::__sighandler_t>(1),
            );
            bindings::flush_signals(task);
        }

        assert_eq!(sent, 0);
        assert_eq!(interrupted, SleepOutcome::Interrupted);
        // Another signal doesn't do.
        assert_eq!(killable, SleepOutcome::Elapsed);
        Ok(())
    }
}
