// SPDX-License-Identifier: GPL-2.0
//! A timer is not moved once it is initialized, whether it is started or not.

use kernel::{
    impl_has_hr_timer,
    prelude::*,
    sync::{Arc, ArcBorrow},
    time::{
        hrtimer::{
            HrTimer, HrTimerCallback, HrTimerCallbackContext, HrTimerHandle, HrTimerPointer,
            HrTimerRestart, RelativeMode,
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
pub struct Timer {
    #[pin]
    timer: HrTimer<Self>,
}

impl HrTimerCallback for Timer {
    type Pointer<'a> = Pin<KBox<Self>>;

    fn run(_: Pin<&mut Self>, _: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        HrTimerRestart::NoRestart
    }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Timer { mode: RelativeMode<Monotonic>, field: self.timer }
}

pub fn unpinned(timer: KBox<Timer>) {
    let _ = timer.start(Delta::ZERO); //~ E0599
}

pub fn swapped(one: &mut Pin<KBox<Timer>>, other: &mut Pin<KBox<Timer>>) {
    core::mem::swap(&mut **one, &mut **other); //~ E0596
}

pub fn taken_back(timer: Pin<KBox<Timer>>) -> Result {
    let _timer = timer.start(Delta::ZERO).into_pointer().map_err(|_| EBUSY)?;
    let _ = *Pin::into_inner(_timer); //~ E0277
    Ok(())
}

#[pin_data]
pub struct Shared {
    #[pin]
    timer: HrTimer<Self>,
}

impl HrTimerCallback for Shared {
    type Pointer<'a> = Arc<Self>;

    fn run(_: ArcBorrow<'_, Self>, _: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        HrTimerRestart::NoRestart
    }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Shared { mode: RelativeMode<Monotonic>, field: self.timer }
}

pub fn while_started(timer: Arc<Shared>) -> Result {
    let handle = timer.start(Delta::ZERO);
    drop(timer); //~ E0382
    drop(handle);
    Ok(())
}
