// SPDX-License-Identifier: GPL-2.0

//! Sleeping on high resolution timers.
//!
//! [`fsleep`] is enough where a task only has to wait for a while. [`sleep()`] is for code that
//! chooses the clock, the accuracy or the signals, or that sleeps until a point in time.
//!
//! C header: [`include/linux/hrtimer.h`](srctree/include/linux/hrtimer.h).
//!
//! # Examples
//!
//! Sleeping for a time:
//!
//! ```
//! use kernel::time::{
//!     hrtimer::RelativeMode,
//!     sleep::{
//!         sleep,
//!         SleepOutcome,
//!         SleepState, //
//!     },
//!     Delta,
//!     Instant,
//!     Monotonic, //
//! };
//!
//! let start = Instant::<Monotonic>::now();
//! let outcome = sleep::<RelativeMode<Monotonic>>(
//!     Delta::from_millis(2),
//!     Delta::from_micros(50),
//!     SleepState::Interruptible,
//! );
//!
//! if outcome == SleepOutcome::Elapsed {
//!     assert!(start.elapsed() >= Delta::from_millis(2));
//! }
//! ```
//!
//! Sleeping at regular intervals, without the time that it takes to wake up adding up, and
//! regardless of other wakeups of the task:
//!
//! ```
//! use kernel::time::{
//!     hrtimer::AbsoluteMode,
//!     sleep::{
//!         sleep,
//!         SleepOutcome,
//!         SleepState, //
//!     },
//!     BootTime,
//!     Delta,
//!     Instant, //
//! };
//!
//! let mut next = Instant::<BootTime>::now();
//! for _ in 0..3 {
//!     next = next + Delta::from_micros(500);
//!     while sleep::<AbsoluteMode<BootTime>>(next, Delta::ZERO, SleepState::Idle)
//!         != SleepOutcome::Elapsed
//!     {}
//!     assert!(next.elapsed() >= Delta::ZERO);
//! }
//! ```
//!
//! [`fsleep`]: super::delay::fsleep

use super::{
    hrtimer::{
        slack_ns,
        HrTimerExpires,
        HrTimerMode, //
    },
    ClockSource,
    Delta, //
};
use crate::task::might_sleep;

/// What, other than the timer, wakes up a task that sleeps.
///
/// A task can always be woken up explicitly, e.g. by a wait queue that it is still on.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SleepState {
    /// Any signal: `TASK_INTERRUPTIBLE`.
    Interruptible,
    /// A fatal signal: `TASK_KILLABLE`.
    Killable,
    /// No signal: `TASK_UNINTERRUPTIBLE`.
    Uninterruptible,
    /// No signal, and the task doesn't count for the load average: `TASK_IDLE`.
    Idle,
}

/// Why a task doesn't sleep any more.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum SleepOutcome {
    /// The time has elapsed.
    Elapsed,
    /// The task was woken up by somebody else, before the time had elapsed.
    Woken,
    /// The task has got a signal of those that [`SleepState`] is for, before the time had elapsed.
    ///
    /// It stays pending, so the next such sleep ends at once.
    Interrupted,
}

/// Puts the current task to sleep on a high resolution timer. Wraps
/// `schedule_hrtimeout_range_clock()`.
///
/// `M` says what clock is used, and whether `expires` is a delay or an instant. With the system not
/// busy, the task is woken up in the range from `expires` to `slack` after it, and never before,
/// unless the outcome says why.
///
/// A delay that is not positive is [`SleepOutcome::Elapsed`] at once, and so is an instant in the
/// past if there is no slack. An instant more than 292 years after the start of the clock is not
/// reached. A `slack` that is not positive is treated as zero.
///
/// # Context
///
/// May sleep.
pub fn sleep<M: HrTimerMode>(expires: M::Expires, slack: Delta, state: SleepState) -> SleepOutcome {
    might_sleep();

    let state = match state {
        SleepState::Interruptible => bindings::TASK_INTERRUPTIBLE,
        SleepState::Killable => bindings::TASK_KILLABLE,
        SleepState::Uninterruptible => bindings::TASK_UNINTERRUPTIBLE,
        SleepState::Idle => bindings::TASK_IDLE,
    };
    // C would treat a negative delay as one that overflows, and sleep for ever.
    let mut expires = expires.as_nanos().max(0);

    // SAFETY:
    // - We may sleep, and the state is one that C allows. It is set to running again before
    //   `schedule_hrtimeout_range_clock()` returns.
    // - `expires` is valid for the call. `M` has a mode and a clock of timers.
    let ret = unsafe {
        bindings::set_current_state(state);
        bindings::schedule_hrtimeout_range_clock(
            &mut expires,
            slack_ns(slack),
            M::C_MODE,
            M::Clock::ID,
        )
    };

    if ret == 0 {
        SleepOutcome::Elapsed
    // SAFETY: The current task is valid.
    } else if unsafe { bindings::signal_pending_state(state, bindings::get_current()) } != 0 {
        SleepOutcome::Interrupted
    } else {
        SleepOutcome::Woken
    }
}

#[cfg(CONFIG_RUST_HRTIMER_KUNIT_TEST)]
pub(super) mod tests;
