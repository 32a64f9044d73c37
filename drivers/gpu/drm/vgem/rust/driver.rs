// SPDX-License-Identifier: GPL-2.0

use kernel::{
    device::DeviceContext,
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
///
/// # Invariants
///
/// The DRM device's parent is `_faux`.
pub(crate) struct VgemModule {
    // Declared, and so dropped, before the device that it is bound to.
    _reg: drm::Registration<'static, VgemDriver>,
    _faux: faux::Registration,
}

impl kernel::Module for VgemModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let faux = faux::Registration::new(c"vgem", None)?;

        let drm = drm::UnregisteredDevice::<VgemDriver>::new(
            faux.as_ref(),
            DmaFenceNames::new(c"vgem", c"unbound").map(|names| VgemData { names }),
        )?;

        let parent = core::ptr::from_ref(AsRef::<faux::Device<_>>::as_ref(&faux).as_ref());
        // SAFETY: The parent is bound until `faux` is dropped. `reg` does not outlive it, as
        // `VgemModule` drops it first.
        let parent = unsafe { &*parent };

        // SAFETY: `reg` is never forgotten, but dropped with `VgemModule`.
        let reg = unsafe { drm::Registration::new(parent, drm, Ok::<(), Error>(()), 0) }?;

        // INVARIANT: `drm` was made for `faux`.
        Ok(Self {
            _reg: reg,
            _faux: faux,
        })
    }
}

pub(crate) struct VgemDriver;

/// The DRM device of this driver.
pub(crate) type VgemDevice<Ctx = drm::Normal> = drm::Device<VgemDriver, Ctx>;

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
