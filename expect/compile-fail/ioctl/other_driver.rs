// SPDX-License-Identifier: GPL-2.0
//! The handler is one for the driver that declares the ioctl, and the table is that driver's, also where
//! the driver is one of another crate.

use kernel::{drm::{self, ioctl::*}, prelude::*, uapi};
use mock::DRM_IOCTL_VGEM_FENCE_SIGNAL;

// The crate of the driver, which knows of no `Kind` but `()`, has made the table for this.
pub struct Other;

impl mock::Kind for Other {
    type Data<'a> = &'a u8;
}

pub const TABLE: &[DrmIoctlDescriptor<mock::Driver<Other>>] = <mock::Driver<Other> as drm::Driver>::IOCTLS;
pub const OTHER_TABLE: &[DrmIoctlDescriptor<mock::Driver>] = <mock::Driver<Other> as drm::Driver>::IOCTLS; //~ E0308

pub fn other_device(
    _dev: &drm::Device<mock::Driver<Other>>,
    _args: &mut uapi::drm_vgem_fence_signal,
    _file: &drm::File<mock::File>,
) -> Result<u32> {
    Ok(0)
}

pub fn other_file(
    _dev: &drm::Device<mock::Driver>,
    _args: &mut uapi::drm_vgem_fence_signal,
    _file: &drm::File<mock::File<Other>>,
) -> Result<u32> {
    Ok(0)
}

pub trait OtherDevice: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl OtherDevice for mock::Driver {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, other_device) } //~ E0277
}

pub trait OtherFile: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl OtherFile for mock::Driver {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, other_file) } //~ E0277
}

pub trait OtherKind: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl OtherKind for mock::Driver<Other> {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, mock::signal::<()>) } //~ E0277
}

pub struct Lent<'a>(pub &'a u8);

impl drm::file::DriverFile for Lent<'_> {
    type Driver = mock::Driver;

    fn open(_dev: &drm::Device<mock::Driver>) -> Result<Pin<KBox<Self>>> {
        Err(EINVAL)
    }
}

// A file is not one of a supertype, either, which may be another driver's.
pub fn supertype<'a>(file: &drm::File<Lent<'static>>, _lent: &'a u8) {
    let _: &drm::File<Lent<'a>> = file; //~ error: lifetime may not live long enough
}
