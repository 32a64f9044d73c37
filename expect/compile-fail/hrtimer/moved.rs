// SPDX-License-Identifier: GPL-2.0
//! A timer is not moved: C has its address.

use kernel::{prelude::*, time::hrtimer::HrTimer};

#[pin_data]
pub struct Timed {
    #[pin]
    timer: HrTimer<Self>,
}

pub fn case(mut timed: Pin<KBox<Timed>>, other: KBox<Timed>) {
    let mut other = KBox::into_pin(other);
    core::mem::swap(&mut *timed, &mut *other); //~ E0596
    let _ = (&mut timed, &mut other);
}
