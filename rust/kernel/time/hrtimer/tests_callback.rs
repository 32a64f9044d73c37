// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of timers whose handles are used in, or at the same time as, the callback.

use super::{
    tests::{
        last,
        pause,
        stop,
        until,
        Boxed,
        Probe,
        LONG,
        SHORT, //
    },
    *, //
};
use crate::{
    macros::kunit_tests,
    processor::cpu_relax,
    sync::{
        atomic::{
            Acquire,
            Full,
            Relaxed,
            Release, //
        },
        Arc, //
    },
    time::{
        sleep::tests::simulated,
        Monotonic, //
    },
    workqueue, //
};

#[kunit_tests(rust_hrtimer_callback)]
mod suite {
    use super::*;

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

    // Lockdep must not treat two closures in one function as the same.
    #[test]
    fn callback_drops_another_closure() -> Result {
        let probe = Probe::new(stop)?;

        let timer = KBox::pin_init(
            HrTimerFn::<_, RelativeSoftMode<Monotonic>>::new(|| HrTimerNext::Done),
            GFP_KERNEL,
        )?;
        let mut other = Some(timer.start(LONG));
        let ours = probe.clone();
        let timer = KBox::pin_init(
            HrTimerFn::<_, RelativeSoftMode<Monotonic>>::new(move || {
                drop(other.take());
                ours.done.complete_all();
                HrTimerNext::Done
            }),
            GFP_KERNEL,
        )?;

        let _handle = timer.start(SHORT);
        probe.done.wait_for_completion();
        Ok(())
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
        assert_eq!(kept.refused.load(Relaxed), 2);

        // SAFETY: The callback has dropped the handle, so the box was leaked. It came from
        // `KBox::pin_init()`. The callback isn't running, and isn't called again.
        let timer = unsafe { KBox::from_raw(address.cast_mut()) };
        assert_eq!(timer.calls, 1);
        assert!(!timer.timer.is_active());
        Ok(())
    }

    // A hard interrupt drops the handle of a timer whose callback it has interrupted.
    #[test]
    fn interrupt_drops_a_handle() -> Result {
        // There is no such interrupt with `PREEMPT_RT`, or while time stands still.
        if cfg!(CONFIG_PREEMPT_RT) || simulated() {
            return Ok(());
        }

        let timer = Probe::new(|this, _| {
            let ours = Arc::from(this);
            let timer = KBox::pin_init(
                HrTimerFn::<_, RelativePinnedMode<Monotonic>>::new(move || {
                    let handle = ours.kept.lock().take();
                    drop(handle);
                    ours.seen.store(1, Release);
                    HrTimerNext::Done
                }),
                GFP_ATOMIC,
            );
            let Ok(timer) = timer else {
                return HrTimerRestart::NoRestart;
            };
            let handle = timer.start(SHORT);

            let start = Instant::<Monotonic>::now();
            while this.seen.load(Acquire) == 0 && start.elapsed() < Delta::from_secs(1) {
                cpu_relax();
            }
            drop(handle);
            HrTimerRestart::Restart
        })?;

        let handle = timer.clone().start(LONG);
        timer.kept.lock().insert(handle).restart(SHORT);
        timer.settle();
        assert_eq!(timer.seen.load(Relaxed), 1);
        assert_eq!(timer.calls(), 1);
        assert!(!timer.timer.is_active());

        // SAFETY: It is the one that the interrupt dropped.
        unsafe { last(timer, 1) }
    }

    // What a callback sets after its handle was dropped doesn't make the timer expire again.
    #[test]
    fn callback_sets_after_drop() -> Result {
        let timer = Probe::new(|this, ctx| {
            let Some(handle) = this.kept.lock().take() else {
                return HrTimerRestart::NoRestart;
            };
            drop(handle);
            ctx.set_expires(Instant::now(), Delta::ZERO);
            let forwarded = ctx.forward_now(SHORT) + ctx.forward(Instant::now(), SHORT);
            this.seen.store(i64::from(forwarded == 0), Relaxed);
            HrTimerRestart::Restart
        })?;

        let handle = timer.clone().start(LONG);
        timer.kept.lock().insert(handle).restart(SHORT);
        timer.settle();
        assert_eq!(timer.seen.load(Relaxed), 1);
        assert_eq!(timer.calls(), 1);
        assert!(!timer.timer.is_active());

        // It can be started again.
        let handle = timer.clone().start(SHORT);
        until(|| timer.calls() == 2);
        drop(handle);
        assert_eq!(timer.calls(), 2);

        // SAFETY: It is the one that the callback dropped.
        unsafe { last(timer, 1) }
    }

    // The callback runs in the interrupt of another thread, on its CPU if there are several. What
    // drops the handle meanwhile, or cancels the timer, waits until it has returned.
    #[test]
    fn drop_waits() -> Result {
        for round in 0..30 {
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

            // Without sleeping at first: the timer of a sleep may be on the CPU of the callback.
            for _ in 0..1_000_000 {
                if timer.calls() != 0 {
                    break;
                }
                cpu_relax();
            }
            until(|| timer.calls() != 0);
            let mut handle = timer.kept.lock().take().ok_or(EINVAL)?;
            match round % 3 {
                0 => drop(handle),
                1 => drop(handle.into_pointer()),
                _ => {
                    handle.cancel();
                }
            }
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
                        _ => match handle.into_pointer() {
                            Ok(timer) => handle = timer.start(delta),
                            Err(running) => handle = running,
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
}
