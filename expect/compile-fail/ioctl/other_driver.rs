// SPDX-License-Identifier: GPL-2.0
//! The handler is one for the driver that declares the ioctl, and the table is that driver's.

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

pub struct Other;

#[vtable]
impl drm::Driver for Other {
    type Data = ();
    type RegistrationData<'a> = ();
    type File = OtherFile;
    type Object = gem::Object<OtherObject>;
    type ParentDevice<Ctx: device::DeviceContext> = faux::Device<Ctx>;

    const INFO: drm::DriverInfo = Driver::INFO;

    kernel::declare_drm_ioctls! {}
}

pub struct OtherFile;
pub struct OtherObject;

impl drm::file::DriverFile for OtherFile {
    type Driver = Other;

    fn open(_dev: &drm::Device<Other>) -> Result<Pin<KBox<Self>>> {
        Ok(KBox::new(Self, GFP_KERNEL)?.into())
    }
}

#[vtable]
impl gem::DriverObject for OtherObject {
    type Driver = Other;
    type Args = ();

    fn new(_: &drm::Device<Other>, _: usize, _: ()) -> impl PinInit<Self, Error> {
        Ok(Self)
    }
}

pub fn other_device(
    _dev: &drm::Device<Other, drm::Registered>,
    _reg_data: &(),
    _args: &mut uapi::drm_vgem_fence_signal,
    _file: &drm::File<File>,
) -> Result<u32> {
    Ok(0)
}

pub fn other_file(
    _dev: &drm::Device<Driver, drm::Registered>,
    _reg_data: &(),
    _args: &mut uapi::drm_vgem_fence_signal,
    _file: &drm::File<OtherFile>,
) -> Result<u32> {
    Ok(0)
}

impl Driver {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, other_device) } //~ E0308
}

impl Other {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, other_file) } //~ E0308
}

pub const OTHER_TABLE: &[DrmIoctlDescriptor<Driver>] = <Other as drm::Driver>::IOCTLS; //~ E0308

pub struct Lent<'a>(pub &'a u8);

impl drm::file::DriverFile for Lent<'_> {
    type Driver = Driver;

    fn open(_dev: &drm::Device<Driver>) -> Result<Pin<KBox<Self>>> {
        Err(EINVAL)
    }
}

// A file is not one of a supertype, either, which may be another driver's.
pub fn supertype<'a>(file: &drm::File<Lent<'static>>, _lent: &'a u8) {
    let _: &drm::File<Lent<'a>> = file; //~ error: lifetime may not live long enough
}
