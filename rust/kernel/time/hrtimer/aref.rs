// SPDX-License-Identifier: GPL-2.0

use super::{
    warn_leaked,
    HasHrTimer,
    HrTimer,
    HrTimerCallback,
    HrTimerHandle,
    HrTimerMode,
    HrTimerPointer,
    RawHrTimerCallback, //
};
use crate::{
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    time::Delta, //
};
use core::mem::ManuallyDrop;

/// A handle for an `ARef<HasHrTimer<T>>` returned by a call to [`HrTimerPointer::start`].
///
/// Dropping the handle cancels the timer, and then drops its reference. Where it can't wait for the
/// callback (see [`HrTimerHandle::cancel`]), it leaks the reference, as the callback needs it and
/// may not be allowed to drop it.
pub struct ARefHrTimerHandle<T>
where
    T: HasHrTimer<T> + AlwaysRefCounted,
{
    inner: ManuallyDrop<ARef<T>>,
}

impl<T> ARefHrTimerHandle<T>
where
    T: HasHrTimer<T> + AlwaysRefCounted,
{
    /// Return what contains the timer.
    pub fn target(&self) -> &ARef<T> {
        &self.inner
    }
}

// SAFETY: `inner` keeps what contains the timer alive. We implement drop below, and we cancel the
// timer in the drop implementation. If that can't wait, we never drop our reference.
unsafe impl<T> HrTimerHandle for ARefHrTimerHandle<T>
where
    T: HasHrTimer<T> + AlwaysRefCounted,
{
    type Target = T;
    type Pointer = ARef<T>;

    fn timer(&self) -> &HrTimer<T> {
        // SAFETY: `inner` is a reference to a valid `T`, and so is what is derived from it to the
        // timer.
        unsafe { &*T::raw_get_timer(&raw const **self.inner) }
    }

    unsafe fn into_pointer_unchecked(self) -> ARef<T> {
        // SAFETY: `self` isn't used again.
        unsafe { ManuallyDrop::take(&mut ManuallyDrop::new(self).inner) }
    }
}

impl<T> Drop for ARefHrTimerHandle<T>
where
    T: HasHrTimer<T> + AlwaysRefCounted,
{
    fn drop(&mut self) {
        // SAFETY: The pointer is from a reference, and thus to a valid timer.
        if unsafe { HrTimer::raw_cancel(self.timer()) }.is_some() {
            // SAFETY: We don't use `inner` again. The handler isn't running.
            unsafe { ManuallyDrop::drop(&mut self.inner) };
        } else {
            warn_leaked();
        }
    }
}

impl<T> HrTimerPointer for ARef<T>
where
    T: 'static,
    T: Send + Sync,
    T: HasHrTimer<T> + AlwaysRefCounted,
    T: for<'a> HrTimerCallback<Pointer<'a> = Self>,
{
    type TimerMode = <T as HasHrTimer<T>>::TimerMode;
    type TimerHandle = ARefHrTimerHandle<T>;

    fn start_range(
        self,
        expires: <<T as HasHrTimer<T>>::TimerMode as HrTimerMode>::Expires,
        slack: Delta,
    ) -> ARefHrTimerHandle<T> {
        // SAFETY:
        // - We keep `self` alive by wrapping it in a handle below.
        // - Since we generate the pointer passed to `start_range` from a valid reference, it is a
        //   valid pointer.
        unsafe { T::start_range(&raw const *self, expires, slack) };

        ARefHrTimerHandle {
            inner: ManuallyDrop::new(self),
        }
    }
}

impl<T> RawHrTimerCallback for ARef<T>
where
    T: 'static,
    T: HasHrTimer<T> + AlwaysRefCounted,
    T: for<'a> HrTimerCallback<Pointer<'a> = Self>,
{
    type CallbackTarget<'a> = &'a T;

    unsafe extern "C" fn run(ptr: *mut bindings::hrtimer) -> bindings::hrtimer_restart {
        // SAFETY: By C API contract `ptr` is the pointer we passed when queuing the timer, so it is
        // a `HrTimer<T>` embedded in a `T`.
        unsafe {
            HrTimer::<T>::raw_run(ptr, |data_ptr, context| {
                // SAFETY: As per the safety requirements of the trait `HrTimerHandle`, the
                // `ARefHrTimerHandle` associated with this timer, or the reference that it leaks,
                // exists until this method returns. That keeps the `T` alive.
                T::run(&*data_ptr, context)
            })
        }
    }
}
