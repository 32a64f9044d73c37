// SPDX-License-Identifier: GPL-2.0
//! The handle of a timer that is borrowed must not be leaked, so nothing starts it safely but
//! `start_scoped()`.

use kernel::{
    impl_has_hr_timer,
    prelude::*,
    time::{
        hrtimer::{
            HrTimer, HrTimerCallback, HrTimerCallbackContext, HrTimerPointer, HrTimerRestart,
            RelativeMode, ScopedHrTimerPointer, UnsafeHrTimerPointer,
        },
        Delta, Monotonic,
    },
};

module! {
    type: Case,
    name: "case",
    license: "GPL",
}

pub struct Case;

impl kernel::Module for Case {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

#[pin_data]
pub struct Shared {
    #[pin]
    timer: HrTimer<Self>,
}

impl HrTimerCallback for Shared {
    type Pointer<'a> = Pin<&'a Self>;

    fn run(_: Pin<&Self>, _: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        HrTimerRestart::NoRestart
    }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Shared { mode: RelativeMode<Monotonic>, field: self.timer }
}

#[pin_data]
pub struct Exclusive {
    #[pin]
    timer: HrTimer<Self>,
}

impl HrTimerCallback for Exclusive {
    type Pointer<'a> = Pin<&'a mut Self>;

    fn run(_: Pin<&mut Self>, _: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        HrTimerRestart::NoRestart
    }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Exclusive { mode: RelativeMode<Monotonic>, field: self.timer }
}

pub fn safe(_: impl HrTimerPointer) {}

pub fn shared(timer: Pin<&Shared>) {
    timer.start_scoped(Delta::ZERO, || ());
    safe(timer); //~ E0277
}

pub fn shared_started(timer: Pin<&Shared>) {
    let _ = UnsafeHrTimerPointer::start(timer, Delta::ZERO); //~ E0133
}

pub fn exclusive(mut timer: Pin<&mut Exclusive>) {
    timer.as_mut().start_scoped(Delta::ZERO, || ());
    safe(timer); //~ E0277
}

pub fn exclusive_started(timer: Pin<&mut Exclusive>) {
    let _ = UnsafeHrTimerPointer::start(timer, Delta::ZERO); //~ E0133
}
