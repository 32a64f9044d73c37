// SPDX-License-Identifier: GPL-2.0
//! A handler is a function: C calls it with nothing that it could capture.

use kernel::{drm::{self, ioctl::*}, prelude::*, uapi};
use mock::DRM_IOCTL_VGEM_FENCE_SIGNAL;

const VALUE: u32 = 7;

pub trait Table: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl Table for mock::Driver {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, mock::signal as fn(&drm::Device<Self>, &mut uapi::drm_vgem_fence_signal, &drm::File<mock::File>) -> Result<u32>) } //~ E0080
}

pub trait Closure: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl Closure for mock::Driver {
    kernel::declare_drm_ioctls! {
        (
            VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW,
            |_: &drm::Device<Self>,
             args: &mut uapi::drm_vgem_fence_signal,
             _: &drm::File<mock::File>| {
                args.fence = VALUE;
                Ok(0)
            }
        )
    }
}

// The compiler looks at a table when it is used.
pub const TABLE: usize = <mock::Driver as Table>::IOCTLS.len();
