// SPDX-License-Identifier: GPL-2.0

use kernel::{
    drm::{
        self,
        gem::BaseObject, //
    },
    prelude::*,
    uapi, //
};

use crate::{
    driver::{
        VgemDevice,
        VgemDriver, //
    },
    fence::Fences,
    gem::VgemObject, //
};

/// A client: the fences that it attached and did not signal.
pub(crate) struct File {
    fences: Fences,
}

impl drm::file::DriverFile for File {
    type Driver = VgemDriver;

    fn open(_dev: &VgemDevice) -> Result<Pin<KBox<Self>>> {
        let fences = Fences::new()?;

        Ok(KBox::pin(Self { fences }, GFP_KERNEL)?)
    }
}

impl File {
    /// Attaches a new fence to a buffer, and returns its ID.
    pub(crate) fn fence_attach(
        dev: &VgemDevice,
        args: &mut uapi::drm_vgem_fence_attach,
        file: &drm::File<Self>,
    ) -> Result<u32> {
        if args.flags & !uapi::VGEM_FENCE_WRITE != 0 || args.pad != 0 {
            return Err(EINVAL);
        }

        let obj = VgemObject::lookup_handle(file, args.handle)?;
        let write = args.flags & uapi::VGEM_FENCE_WRITE != 0;

        args.out_fence = file
            .inner()
            .fences()
            .attach(&dev.names, obj.resv(), write)?;

        Ok(0)
    }

    /// Signals a fence, and gives up its ID.
    pub(crate) fn fence_signal(
        _dev: &VgemDevice,
        args: &mut uapi::drm_vgem_fence_signal,
        file: &drm::File<Self>,
    ) -> Result<u32> {
        if args.flags != 0 {
            return Err(EINVAL);
        }

        file.inner().fences().signal(args.fence)?;

        Ok(0)
    }

    fn fences(self: Pin<&Self>) -> &Fences {
        &self.get_ref().fences
    }
}
