// SPDX-License-Identifier: GPL-2.0
//! Each ioctl is there once.

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

pub fn attach(
    _dev: &drm::Device<Driver, drm::Registered>,
    _reg_data: &(),
    _args: &mut uapi::drm_vgem_fence_attach,
    _file: &drm::File<File>,
) -> Result<u32> {
    Ok(0)
}

pub fn signal(
    _dev: &drm::Device<Driver, drm::Registered>,
    _reg_data: &(),
    _args: &mut uapi::drm_vgem_fence_signal,
    _file: &drm::File<File>,
) -> Result<u32> {
    Ok(0)
}

impl Driver {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_ATTACH, drm_vgem_fence_attach, RENDER_ALLOW, attach), (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, signal), (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, signal) } //~ E0080: VGEM_FENCE_SIGNAL: must have a higher number than the ioctl before it
}
