// SPDX-License-Identifier: GPL-2.0
//! A number is at least that of the first ioctl of drivers.

use kernel::{drm::ioctl::*, uapi};

pub const DRM_IOCTL_CASE: u32 = IOW::<uapi::drm_vgem_fence_signal>(uapi::DRM_COMMAND_BASE - 1);

pub trait Table: kernel::drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl Table for mock::Driver {
    kernel::declare_drm_ioctls! { (CASE, drm_vgem_fence_signal, RENDER_ALLOW, mock::signal) } //~ E0080: CASE: must have a driver's number, higher than that of the ioctl before
}
