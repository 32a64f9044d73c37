// SPDX-License-Identifier: GPL-2.0
//! A handler can keep neither its argument nor the file for the next call, and what was registered
//! with the device can't borrow from itself.

use kernel::{drm::{self, ioctl::*}, prelude::*, sync::Mutex, uapi};
use mock::DRM_IOCTL_VGEM_FENCE_SIGNAL;

pub struct Kind;

impl mock::Kind for Kind {
    type Data<'a> = Kept<'a>;
}

#[pin_data]
pub struct Kept<'a> {
    own: mock::File<Kind>,
    #[pin]
    arg: Mutex<Option<&'a uapi::drm_vgem_fence_signal>>,
    #[pin]
    file: Mutex<Option<&'a mock::File<Kind>>>,
}

pub type Device = drm::Device<mock::Driver<Kind>, drm::Registered>;
pub type File = drm::File<mock::File<Kind>>;

pub fn good(
    _dev: &Device,
    kept: &Kept<'_>,
    _arg: &mut uapi::drm_vgem_fence_signal,
    _file: &File,
) -> Result<u32> {
    Ok(u32::from(kept.arg.lock().is_some()))
}

pub fn keeps_file<'a>(
    _dev: &Device,
    kept: &Kept<'a>,
    _arg: &mut uapi::drm_vgem_fence_signal,
    file: &'a File,
) -> Result<u32> {
    *kept.file.lock() = Some(file.inner().get_ref());
    Ok(0)
}

pub fn keeps_arg<'a>(
    _dev: &Device,
    kept: &Kept<'a>,
    arg: &'a mut uapi::drm_vgem_fence_signal,
    _file: &File,
) -> Result<u32> {
    *kept.arg.lock() = Some(arg);
    Ok(0)
}

pub trait Good: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl Good for mock::Driver<Kind> {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, good) }
}

pub trait KeepsFile: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl KeepsFile for mock::Driver<Kind> {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, keeps_file) } //~ E0277
}

pub trait KeepsArg: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl KeepsArg for mock::Driver<Kind> {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, keeps_arg) } //~ E0277
}

pub fn reads_data(dev: &Device) -> bool {
    dev.registration_data_with(|kept| kept.file.lock().is_some())
}

pub fn borrows_from_data(dev: &Device) {
    dev.registration_data_with(|kept| {
        *kept.file.lock() = Some(&kept.own); //~ error
    })
}
