// SPDX-License-Identifier: GPL-2.0
//! While a file is closed, a handle of it may lead to an object that was freed: close() has no file.

use kernel::{drm::{self, gem::{self, BaseObject}}, prelude::*};

pub struct Object;

#[vtable]
impl gem::DriverObject for Object {
    type Driver = mock::Driver;
    type Args = ();
    type OwnerModule = mock::Mock;

    fn new(_: &drm::Device<mock::Driver>, _: usize, _: ()) -> impl PinInit<Self, Error> {
        Ok(Self)
    }

    fn close(_: &gem::Object<mock::Object>, file: Pin<&mock::File>) {
        let _ = gem::Object::<mock::Object>::lookup_handle(file.get_ref(), 1); //~ E0308
    }
}
