// SPDX-License-Identifier: GPL-2.0
//! An argument has no padding, in which user space would see the stack, and no bytes are invalid in
//! it.

use kernel::{drm::{self, ioctl::*}, prelude::*, uapi};

#[repr(C)]
pub struct Padded {
    pub flags: u32,
    pub address: u64,
}

#[derive(IntoBytes)]
#[repr(C)]
pub struct Flag(bool);

pub const DRM_IOCTL_PADDED: u32 = IOWR::<Padded>(uapi::DRM_COMMAND_BASE);
pub const DRM_IOCTL_FLAG: u32 = IOWR::<Flag>(uapi::DRM_COMMAND_BASE);

pub fn handle<A>(
    _dev: &drm::Device<mock::Driver>,
    _args: &mut A,
    _file: &drm::File<mock::File>,
) -> Result<u32> {
    Ok(0)
}

pub trait PaddedTable: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl PaddedTable for mock::Driver {
    kernel::declare_drm_ioctls! { (PADDED, Padded, RENDER_ALLOW, handle) } //~ E0277
}

pub trait FlagTable: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl FlagTable for mock::Driver {
    kernel::declare_drm_ioctls! { (FLAG, Flag, RENDER_ALLOW, handle) } //~ E0277
}
