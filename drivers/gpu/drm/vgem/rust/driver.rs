// SPDX-License-Identifier: GPL-2.0

use kernel::{
    device::DeviceContext,
    dma::DmaMask,
    dma_fence::DmaFenceNames,
    drm::{
        self,
        gem,
        ioctl, //
    },
    faux,
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    file::File,
    gem::VgemObject, //
};

/// The device, from module load to unload.
pub(crate) struct VgemModule {
    _reg: drm::FauxRegistration<VgemDriver>,
}

impl kernel::Module for VgemModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let parent = faux::Registration::with_dma_mask(c"vgem", None, DmaMask::new::<64>())?;
        let drm = drm::UnregisteredDevice::new(
            parent.as_ref(),
            DmaFenceNames::new(c"vgem", c"unbound").map(|names| VgemData { names }),
        )?;

        Ok(Self {
            _reg: drm::FauxRegistration::new(parent, drm, Ok::<(), Error>(()), 0)?,
        })
    }
}

pub(crate) struct VgemDriver;

/// The DRM device of this driver.
pub(crate) type VgemDevice = drm::Device<VgemDriver>;

pub(crate) struct VgemData {
    /// What others see of the fences.
    pub(crate) names: ARef<DmaFenceNames>,
}

#[vtable]
impl drm::Driver for VgemDriver {
    type Data = VgemData;
    type RegistrationData<'a> = ();
    type File = File;
    type Object = gem::shmem::Object<VgemObject>;
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
        (VGEM_FENCE_ATTACH, drm_vgem_fence_attach, ioctl::RENDER_ALLOW, File::fence_attach),
        (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, ioctl::RENDER_ALLOW, File::fence_signal),
    }
}
