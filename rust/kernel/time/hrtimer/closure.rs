// SPDX-License-Identifier: GPL-2.0

use super::{
    HasHrTimer,
    HrTimer,
    HrTimerCallback,
    HrTimerCallbackContext,
    HrTimerMode,
    HrTimerRestart, //
};
use crate::{
    prelude::*,
    time::{
        ClockSource,
        Delta,
        Instant, //
    },
};
use core::marker::PhantomData;

/// What the closure of an [`HrTimerFn`] returns.
pub enum HrTimerNext<C: ClockSource> {
    /// The timer is done, until it is started again.
    Done,
    /// The closure is called again after this time from now, or at once if it isn't positive.
    After(Delta),
    /// The closure is called again at this instant, or at once if that is in the past.
    At(Instant<C>),
}

impl<C: ClockSource> HrTimerNext<C> {
    /// Sets the expiry of the timer.
    fn apply<T>(self, ctx: &mut HrTimerCallbackContext<'_, T>) -> HrTimerRestart
    where
        T: HasHrTimer<T>,
        T::TimerMode: HrTimerMode<Clock = C>,
    {
        let now = Instant::now();
        let delay = match self {
            Self::Done => return HrTimerRestart::NoRestart,
            Self::After(delay) => delay,
            Self::At(at) => at - now,
        };

        // In the future, as C would go on with this timer before it looks at others that are due.
        let delay = delay.max(Delta::from_nanos(1));
        ctx.set_expires(now.saturating_add(delay), Delta::ZERO);
        HrTimerRestart::Restart
    }
}

/// A timer in a [`Box`] that calls a closure.
///
/// `M` is the mode that the timer is started with. The closure is called in hard or soft interrupt
/// context, as `M` says, and returns whether and when it is called again. If it is, `M` should not
/// be absolute with a clock that can be set back: see [`HrTimerCallbackContext::set_expires`].
///
/// # Examples
///
/// ```
/// use kernel::{
///     sync::{
///         Arc,
///         Completion, //
///     },
///     time::{
///         hrtimer::{
///             AbsoluteMode,
///             HrTimerFn,
///             HrTimerNext,
///             HrTimerPointer, //
///         },
///         Delta,
///         Instant,
///         Monotonic, //
///     },
/// };
///
/// let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
/// let start = Instant::<Monotonic>::now();
///
/// let ours = done.clone();
/// let mut steps = 0;
/// let timer = KBox::pin_init(
///     HrTimerFn::<_, AbsoluteMode<Monotonic>>::new(move || {
///         steps += 1;
///         if steps < 3 {
///             HrTimerNext::At(start + Delta::from_micros(100) * steps)
///         } else {
///             ours.complete_all();
///             HrTimerNext::Done
///         }
///     }),
///     GFP_KERNEL,
/// )?;
///
/// let _handle = timer.start(start);
/// done.wait_for_completion();
/// assert!(start.elapsed() >= Delta::from_micros(200));
/// # Ok::<(), Error>(())
/// ```
#[pin_data]
pub struct HrTimerFn<F, M>
where
    M: HrTimerMode + 'static,
    F: FnMut() -> HrTimerNext<M::Clock> + Send + Sync + 'static,
{
    #[pin]
    timer: HrTimer<Self>,
    closure: F,
    // Is `Send` and `Sync` whatever `M` is, as there is no `M`.
    _mode: PhantomData<fn() -> M>,
}

impl<F, M> HrTimerFn<F, M>
where
    M: HrTimerMode + 'static,
    F: FnMut() -> HrTimerNext<M::Clock> + Send + Sync + 'static,
{
    /// Return an initializer for a timer that calls `closure`.
    pub fn new(closure: F) -> impl PinInit<Self> {
        pin_init!(Self {
            timer <- HrTimer::new(),
            closure,
            _mode: PhantomData,
        })
    }
}

impl<F, M> HrTimerCallback for HrTimerFn<F, M>
where
    M: HrTimerMode + 'static,
    F: FnMut() -> HrTimerNext<M::Clock> + Send + Sync + 'static,
{
    type Pointer<'a> = Pin<KBox<Self>>;

    fn run(this: Pin<&mut Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        (this.project().closure)().apply(&mut ctx)
    }
}

impl_has_hr_timer! {
    impl{
        F: FnMut() -> HrTimerNext<<M as HrTimerMode>::Clock> + Send + Sync + 'static,
        M: HrTimerMode + 'static
    } HasHrTimer<Self> for HrTimerFn<F, M> {
        mode: M, field: self.timer
    }
}
