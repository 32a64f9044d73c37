// SPDX-License-Identifier: GPL-2.0
//! A handler can keep neither its argument nor the file for the next call, and what was registered
//! with the device can't borrow from itself.

use kernel::{device, drm::{self, gem, ioctl::*}, faux, prelude::*, sync::Mutex, uapi};

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

#[pin_data]
pub struct Kept<'a> {
    own: File,
    #[pin]
    arg: Mutex<Option<&'a uapi::drm_vgem_fence_signal>>,
    #[pin]
    file: Mutex<Option<&'a File>>,
}

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
    type RegistrationData<'a> = Kept<'a>;
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

    // Keeps nothing.
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, good) }
}

pub fn good(
    _dev: &drm::Device<Driver, drm::Registered>,
    kept: &Kept<'_>,
    _arg: &mut uapi::drm_vgem_fence_signal,
    _file: &drm::File<File>,
) -> Result<u32> {
    Ok(u32::from(kept.arg.lock().is_some()))
}

pub fn keeps_file<'a>(
    _dev: &drm::Device<Driver, drm::Registered>,
    kept: &Kept<'a>,
    _arg: &mut uapi::drm_vgem_fence_signal,
    file: &'a drm::File<File>,
) -> Result<u32> {
    *kept.file.lock() = Some(file.inner().get_ref());
    Ok(0)
}

pub fn keeps_arg<'a>(
    _dev: &drm::Device<Driver, drm::Registered>,
    kept: &Kept<'a>,
    arg: &'a mut uapi::drm_vgem_fence_signal,
    _file: &drm::File<File>,
) -> Result<u32> {
    *kept.arg.lock() = Some(arg);
    Ok(0)
}

pub trait Table: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl Table for Driver {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, keeps_file) } //~ E0308
}

impl Driver {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, keeps_arg) } //~ E0308
}

pub fn reads_data(dev: &drm::Device<Driver, drm::Registered>) -> bool {
    dev.registration_data_with(|kept| kept.file.lock().is_some())
}

pub fn borrows_from_data(dev: &drm::Device<Driver, drm::Registered>) {
    dev.registration_data_with(|kept| {
        *kept.file.lock() = Some(&kept.own); //~ error
    })
}
