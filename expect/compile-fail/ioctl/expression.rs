// SPDX-License-Identifier: GPL-2.0
//! A handler is a path: an expression could be one thing for the compiler's check that it is for the
//! driver, and another one, by inference, for the call.

use kernel::{device, drm::{self, gem, ioctl::*}, faux, prelude::*, uapi};

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

pub fn handler(
    _dev: &drm::Device<Driver, drm::Registered>,
    _reg_data: &(),
    _args: &mut uapi::drm_vgem_fence_signal,
    _file: &drm::File<File>,
) -> Result<u32> {
    Ok(0)
}

pub const fn pick(
    _which: u8,
) -> fn(
    &drm::Device<Driver, drm::Registered>,
    &(),
    &mut uapi::drm_vgem_fence_signal,
    &drm::File<File>,
) -> Result<u32> {
    handler
}

impl Driver {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, pick(0)) } //~ error
}
