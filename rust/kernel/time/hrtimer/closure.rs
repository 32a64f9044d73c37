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
    sync::{
        Arc,
        ArcBorrow, //
    },
    time::{
        ClockSource,
        Delta,
        Instant, //
    },
};

/// What the closure of an [`HrTimerFn`] or [`HrTimerFnMut`] returns.
pub enum HrTimerNext<C: ClockSource> {
    /// The timer is done, until it is started again.
    Done,
    /// The closure is to be called again after this time from now, or at once if it isn't positive.
    After(Delta),
    /// The closure is to be called again at this instant, or at once if that is in the past.
    At(Instant<C>),
}

impl<C: ClockSource> HrTimerNext<C> {
    /// Sets the expiry of the timer.
    ///
    /// If the timer was started while the closure ran, that stands.
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

        // Not in the past, as other timers wait until those are run that expired before the
        // interrupt.
        ctx.set_expires(now.saturating_add(delay.max(Delta::ZERO)), Delta::ZERO);
        HrTimerRestart::Restart
    }
}

/// A timer in an [`Arc`] that calls a closure.
///
/// As the timer can be shared, so is the closure: it has to be [`Fn`]. See [`HrTimerFnMut`] for one
/// that isn't.
///
/// `M` is the mode that the timer is started with. The closure is called in hard or soft interrupt
/// context, as `M` says, and returns whether and when it is to be called again.
///
/// # Examples
///
/// ```
/// use kernel::{
///     sync::{
///         atomic::{
///             Atomic,
///             Relaxed, //
///         },
///         Arc,
///         Completion, //
///     },
///     time::{
///         hrtimer::{
///             HrTimerFn,
///             HrTimerNext,
///             HrTimerPointer,
///             RelativeMode, //
///         },
///         Delta,
///         Monotonic, //
///     },
/// };
///
/// #[pin_data]
/// struct Ticks {
///     count: Atomic<u32>,
///     #[pin]
///     done: Completion,
/// }
///
/// let ticks = Arc::pin_init(
///     pin_init!(Ticks { count: Atomic::new(0), done <- Completion::new() }),
///     GFP_KERNEL,
/// )?;
///
/// let ours = ticks.clone();
/// let timer = Arc::pin_init(
///     HrTimerFn::<_, RelativeMode<Monotonic>>::new(move || {
///         if ours.count.fetch_add(1, Relaxed) < 2 {
///             HrTimerNext::After(Delta::from_micros(100))
///         } else {
///             ours.done.complete_all();
///             HrTimerNext::Done
///         }
///     }),
///     GFP_KERNEL,
/// )?;
///
/// let _handle = timer.start(Delta::from_micros(100));
/// ticks.done.wait_for_completion();
/// assert_eq!(ticks.count.load(Relaxed), 3);
/// # Ok::<(), Error>(())
/// ```
#[pin_data]
pub struct HrTimerFn<F, M>
where
    M: HrTimerMode + 'static,
    F: Fn() -> HrTimerNext<M::Clock> + Send + Sync + 'static,
{
    #[pin]
    timer: HrTimer<Self>,
    closure: F,
    _mode: PhantomMode<M>,
}

/// A timer in a [`Box`] that calls a closure.
///
/// As the timer is not shared, the closure may be [`FnMut`]. Otherwise, see [`HrTimerFn`].
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
///             HrTimerFnMut,
///             HrTimerNext,
///             HrTimerPointer,
///             AbsoluteMode, //
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
///     HrTimerFnMut::<_, AbsoluteMode<Monotonic>>::new(move || {
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
pub struct HrTimerFnMut<F, M>
where
    M: HrTimerMode + 'static,
    F: FnMut() -> HrTimerNext<M::Clock> + Send + Sync + 'static,
{
    #[pin]
    timer: HrTimer<Self>,
    closure: F,
    _mode: PhantomMode<M>,
}

/// Is `Send` and `Sync` whatever `M` is, as there is no `M`.
type PhantomMode<M> = core::marker::PhantomData<fn() -> M>;

impl<F, M> HrTimerFn<F, M>
where
    M: HrTimerMode + 'static,
    F: Fn() -> HrTimerNext<M::Clock> + Send + Sync + 'static,
{
    /// Return an initializer for a timer that calls `closure`.
    pub fn new(closure: F) -> impl PinInit<Self> {
        pin_init!(Self {
            timer <- HrTimer::new(),
            closure,
            _mode: core::marker::PhantomData,
        })
    }
}

impl<F, M> HrTimerFnMut<F, M>
where
    M: HrTimerMode + 'static,
    F: FnMut() -> HrTimerNext<M::Clock> + Send + Sync + 'static,
{
    /// Return an initializer for a timer that calls `closure`.
    pub fn new(closure: F) -> impl PinInit<Self> {
        pin_init!(Self {
            timer <- HrTimer::new(),
            closure,
            _mode: core::marker::PhantomData,
        })
    }
}

impl<F, M> HrTimerCallback for HrTimerFn<F, M>
where
    M: HrTimerMode + 'static,
    F: Fn() -> HrTimerNext<M::Clock> + Send + Sync + 'static,
{
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        (this.closure)().apply(&mut ctx)
    }
}

impl<F, M> HrTimerCallback for HrTimerFnMut<F, M>
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
        F: Fn() -> HrTimerNext<<M as HrTimerMode>::Clock> + Send + Sync + 'static,
        M: HrTimerMode + 'static
    } HasHrTimer<Self> for HrTimerFn<F, M> {
        mode: M, field: self.timer
    }
}

impl_has_hr_timer! {
    impl{
        F: FnMut() -> HrTimerNext<<M as HrTimerMode>::Clock> + Send + Sync + 'static,
        M: HrTimerMode + 'static
    } HasHrTimer<Self> for HrTimerFnMut<F, M> {
        mode: M, field: self.timer
    }
}
