// SPDX-License-Identifier: GPL-2.0

//! Virtual GEM provider.
//!
//! A DRM device without hardware: user space makes buffers, maps and shares them, and attaches
//! fences to them, which it signals itself. It is there for software renderers, and for testing how
//! drivers share buffers.

use kernel::device::DeviceContext;
use kernel::dma::DmaMask;
use kernel::dma_fence::DmaFenceNames;
use kernel::drm;
use kernel::drm::ioctl::*;
use kernel::faux;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::uapi;

mod fence;
mod file;
mod gem;

use file::File;

module! {
    type: VgemModule,
    name: "vgem",
    description: "Virtual GEM provider",
    license: "GPL v2",
}

struct VgemModule {
    _reg: drm::FauxRegistration<VgemDriver>,
}

impl kernel::Module for VgemModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let parent = faux::Registration::with_dma_mask(c"vgem", None, DmaMask::new::<64>())?;
        let names = DmaFenceNames::new(c"vgem", c"unbound");
        let drm = drm::UnregisteredDevice::new(parent.as_ref(), names)?;
        let _reg = drm::FauxRegistration::new(parent, drm, Ok::<(), Error>(()), 0)?;
        Ok(Self { _reg })
    }
}

struct VgemDriver;
type VgemDevice = drm::Device<VgemDriver>;

const DRM_IOCTL_VGEM_FENCE_ATTACH: u32 =
    IOWR::<uapi::drm_vgem_fence_attach>(uapi::DRM_COMMAND_BASE + uapi::DRM_VGEM_FENCE_ATTACH);
const DRM_IOCTL_VGEM_FENCE_SIGNAL: u32 =
    IOW::<uapi::drm_vgem_fence_signal>(uapi::DRM_COMMAND_BASE + uapi::DRM_VGEM_FENCE_SIGNAL);

#[vtable]
impl drm::Driver for VgemDriver {
    /// What others see of the fences.
    type Data = ARef<DmaFenceNames>;
    type RegistrationData<'a> = ();
    type File = File;
    type Object = gem::VgemBuffer;
    type ParentDevice<Ctx: DeviceContext> = faux::Device<Ctx>;

    const INFO: drm::DriverInfo = drm::DriverInfo {
        major: 1,
        minor: 0,
        patchlevel: 0,
        name: c"vgem",
        desc: c"Virtual GEM provider",
    };
    const FEAT_RENDER: bool = true;

    kernel::declare_drm_ioctls! {
        (VGEM_FENCE_ATTACH, drm_vgem_fence_attach, RENDER_ALLOW, File::fence_attach),
        (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, File::fence_signal),
    }
}
