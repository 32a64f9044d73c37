// SPDX-License-Identifier: GPL-2.0
//! A work item is not one of a supertype, whose `HasWork` may say that it is elsewhere.

use core::marker::PhantomData;
use kernel::{
    prelude::*,
    sync::Arc,
    workqueue::{DelayedWork, Work},
};

#[pin_data]
pub struct Works<F> {
    #[pin]
    one: Work<Self>,
    #[pin]
    other: Work<Self>,
    #[pin]
    delayed: DelayedWork<Self>,
    _f: PhantomData<F>,
}

pub type Sub = Works<for<'a> fn(&'a u8)>;
pub type Super = Works<fn(&'static u8)>;

// It would be one otherwise.
pub fn of_function(f: &PhantomData<for<'a> fn(&'a u8)>) {
    let _: &PhantomData<fn(&'static u8)> = f;
}

pub fn of_work(work: &Work<Sub>) {
    let _: &Work<Super> = work; //~ E0308
}

pub fn of_delayed_work(work: &DelayedWork<Sub>) {
    let _: &DelayedWork<Super> = work; //~ E0308
}

pub fn of_works(works: Arc<Sub>) {
    let _: Arc<Super> = works; //~ E0308
}
