// SPDX-License-Identifier: GPL-2.0
//! The list is sorted by number.

use kernel::drm::ioctl::*;
use mock::{DRM_IOCTL_VGEM_FENCE_ATTACH, DRM_IOCTL_VGEM_FENCE_SIGNAL};

pub trait Table: kernel::drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl Table for mock::Driver {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, mock::signal), (VGEM_FENCE_ATTACH, drm_vgem_fence_attach, RENDER_ALLOW, mock::attach) } //~ E0080: VGEM_FENCE_ATTACH: must have a driver's number, higher than that of the ioctl before
}
