// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of sleeping on high resolution timers.

use super::*;
use crate::{
    macros::kunit_tests,
    prelude::*,
    processor::cpu_relax,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    task::Task,
    time::{
        hrtimer::{
            AbsoluteMode,
            AbsolutePinnedSoftMode,
            HrTimerFn,
            HrTimerNext,
            HrTimerPointer,
            RelativeMode, //
        },
        BootTime,
        Instant,
        Monotonic,
        RealTime,
        Tai, //
    }, //
};

const SHORT: Delta = Delta::from_micros(100);
const LONG: Delta = Delta::from_secs(1000);
const HUGE: Delta = Delta::from_nanos(i64::MAX);

/// Whether time goes on without the CPU doing so, as with `time-travel=inf-cpu`.
pub(in crate::time) fn simulated() -> bool {
    let start = Instant::<Monotonic>::now();
    for _ in 0..1_000_000 {
        cpu_relax();
    }
    start.elapsed() < Delta::from_micros(20)
}

#[kunit_tests(rust_hrtimer_sleep)]
mod suite {
    use super::*;

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
        // Others may wake up the task, but not so often.
        let end = Instant::<BootTime>::now() + Delta::from_millis(2);
        let elapsed = (0..100).any(|_| {
            sleep::<AbsoluteMode<BootTime>>(end, SHORT, SleepState::Idle) == SleepOutcome::Elapsed
        });
        assert!(elapsed && end.elapsed() >= Delta::ZERO && end.elapsed() < LONG);

        let end = Instant::<Tai>::now() + SHORT;
        let elapsed = (0..100).any(|_| {
            sleep::<AbsolutePinnedSoftMode<Tai>>(end, SHORT, SleepState::Killable)
                == SleepOutcome::Elapsed
        });
        assert!(elapsed && end.elapsed() >= Delta::ZERO && end.elapsed() < LONG);
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
        let done = Arc::new(Atomic::new(false), GFP_KERNEL)?;
        let ours = done.clone();
        let task: ARef<Task> = ARef::from(&**crate::current!());

        // Until it has got about, as the task may not be asleep yet.
        let wake = KBox::pin_init(
            HrTimerFn::<_, RelativeMode<Monotonic>>::new(move || {
                if ours.load(Relaxed) {
                    return HrTimerNext::Done;
                }
                task.wake_up();
                HrTimerNext::After(SHORT)
            }),
            GFP_KERNEL,
        )?;

        let handle = wake.start(SHORT);
        let outcome = sleep::<RelativeMode<Monotonic>>(HUGE, HUGE, SleepState::Uninterruptible);
        assert_eq!(outcome, SleepOutcome::Woken);
        let outcome = sleep::<RelativeMode<Monotonic>>(LONG, Delta::ZERO, SleepState::Killable);
        assert_eq!(outcome, SleepOutcome::Woken);
        done.store(true, Relaxed);
        drop(handle);

        Ok(())
    }

    #[test]
    fn sleep_is_interrupted() {
        let task = Task::current_raw();

        // Only a fatal signal ends a killable sleep, and none an uninterruptible one.
        for (signal, killable) in [
            (bindings::SIGUSR1, SleepOutcome::Elapsed),
            (bindings::SIGKILL, SleepOutcome::Interrupted),
        ] {
            let signal = signal as c_int;
            let expected = [
                (SleepState::Interruptible, SleepOutcome::Interrupted),
                (SleepState::Killable, killable),
                (SleepState::Uninterruptible, SleepOutcome::Elapsed),
                (SleepState::Idle, SleepOutcome::Elapsed),
            ];

            // SAFETY: This is `allow_signal()`: `SIG_KTHREAD` is the value 2. The task is the
            // current one, so it is valid, and `send_sig()` with 1 sends a signal of the kernel.
            let sent = unsafe {
                bindings::kernel_sigaction(
                    signal,
                    core::mem::transmute::<usize, bindings::__sighandler_t>(2),
                );
                bindings::send_sig(signal, task, 1)
            };
            let outcomes = expected.map(|(state, outcome)| {
                let time = match outcome {
                    SleepOutcome::Elapsed => SHORT,
                    _ => Delta::from_secs(5),
                };
                (state, sleep::<RelativeMode<Monotonic>>(time, SHORT, state))
            });

            // SAFETY: The task is the current one. This is `disallow_signal()`: `SIG_IGN` is 1.
            unsafe {
                bindings::kernel_sigaction(
                    signal,
                    core::mem::transmute::<usize, bindings::__sighandler_t>(1),
                );
                bindings::flush_signals(task);
            }

            assert_eq!(sent, 0);
            assert_eq!(outcomes, expected);
        }
    }
}
