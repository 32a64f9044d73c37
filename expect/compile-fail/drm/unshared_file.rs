// SPDX-License-Identifier: GPL-2.0
//! What a driver keeps with a file is used by several threads at once.

use core::cell::Cell;
use kernel::{device, drm::{self, gem}, faux, prelude::*};

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

pub struct Driver;
pub struct File;
pub struct Object;

impl drm::file::DriverFile for File {
    type Driver = Driver;

    fn open(_dev: &drm::Device<Driver>) -> Result<Pin<KBox<Self>>> {
        Ok(KBox::new(Self, GFP_KERNEL)?.into())
    }
}

#[vtable]
impl gem::DriverObject for Object {
    type Driver = Driver;
    type Args = ();

    fn new(_: &drm::Device<Driver>, _: usize, _: ()) -> impl PinInit<Self, Error> {
        Ok(Self)
    }
}

#[vtable]
impl drm::Driver for Driver {
    type Data = ();
    type RegistrationData<'a> = ();
    type File = File;
    type Object = gem::Object<Object>;
    type ParentDevice<Ctx: device::DeviceContext> = faux::Device<Ctx>;

    const INFO: drm::DriverInfo = drm::DriverInfo {
        major: 0,
        minor: 0,
        patchlevel: 0,
        name: c"case",
        desc: c"Case",
    };

    kernel::declare_drm_ioctls! {}
}

pub struct Unshared(Cell<u32>);

impl drm::file::DriverFile for Unshared { type Driver = Driver; fn open(_: &drm::Device<Driver>) -> Result<Pin<KBox<Self>>> { Err(EINVAL) } } //~ E0277
