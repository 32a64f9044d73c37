// SPDX-License-Identifier: GPL-2.0
//! The argument has the size that is in the number, and no alignment that DRM does not give it.

use kernel::{drm::{self, ioctl::*}, prelude::*, uapi};
use mock::DRM_IOCTL_VGEM_FENCE_ATTACH;

#[derive(FromBytes, IntoBytes)]
#[repr(C, align(16))]
pub struct Aligned([u64; 2]);

pub const DRM_IOCTL_ALIGNED: u32 = IOW::<Aligned>(uapi::DRM_COMMAND_BASE);

pub fn aligned(
    _dev: &drm::Device<mock::Driver>,
    _args: &mut Aligned,
    _file: &drm::File<mock::File>,
) -> Result<u32> {
    Ok(0)
}

pub trait Table: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl Table for mock::Driver {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_ATTACH, drm_vgem_fence_signal, RENDER_ALLOW, mock::signal) } //~ E0080: the size of the argument is not that in the ioctl's number
}

pub trait AlignedTable: drm::Driver {
    const IOCTLS: &'static [DrmIoctlDescriptor<Self>] = &[];
}

impl AlignedTable for mock::Driver {
    kernel::declare_drm_ioctls! { (ALIGNED, Aligned, RENDER_ALLOW, aligned) } //~ E0080
}

// The compiler looks at a table when it is used.
pub const TABLE: usize = <mock::Driver as Table>::IOCTLS.len();
pub const ALIGNED_TABLE: usize = <mock::Driver as AlignedTable>::IOCTLS.len();
