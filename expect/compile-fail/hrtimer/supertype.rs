// SPDX-License-Identifier: GPL-2.0
//! A timer is not one of a supertype, whose `HasHrTimer` may say that it is elsewhere.

use core::marker::PhantomData;
use kernel::{prelude::*, time::hrtimer::HrTimer};

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
pub struct Timers<F> {
    #[pin]
    one: HrTimer<Self>,
    #[pin]
    other: HrTimer<Self>,
    _f: PhantomData<F>,
}

pub type Sub = Timers<for<'a> fn(&'a u8)>;
pub type Super = Timers<fn(&'static u8)>;

// It would be one otherwise.
pub fn of_function(f: &PhantomData<for<'a> fn(&'a u8)>) {
    let _: &PhantomData<fn(&'static u8)> = f;
}

pub fn of_timer(timer: &HrTimer<Sub>) {
    let _: &HrTimer<Super> = timer; //~ E0308
}

pub fn of_timers(timers: Pin<&Sub>) {
    let _: Pin<&Super> = timers; //~ E0308
}
