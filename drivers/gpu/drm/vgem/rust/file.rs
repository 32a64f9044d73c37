// SPDX-License-Identifier: GPL-2.0

use kernel::drm;
use kernel::drm::gem::BaseObject;
use kernel::prelude::*;
use kernel::uapi;

use crate::fence::Fences;
use crate::gem::VgemBuffer;
use crate::VgemDevice;
use crate::VgemDriver;

/// A client: the fences that it attached and did not signal.
pub(crate) struct File(Fences);

impl drm::file::DriverFile for File {
    type Driver = VgemDriver;

    fn open(_dev: &VgemDevice) -> Result<Pin<KBox<Self>>> {
        Ok(KBox::pin(Self(Fences::new()?), GFP_KERNEL)?)
    }
}

impl File {
    pub(crate) fn fence_attach(
        dev: &VgemDevice,
        args: &mut uapi::drm_vgem_fence_attach,
        file: &drm::File<Self>,
    ) -> Result<u32> {
        if args.flags & !uapi::VGEM_FENCE_WRITE != 0 || args.pad != 0 {
            return Err(EINVAL);
        }
        let buffer = VgemBuffer::lookup_handle(file, args.handle)?;
        let write = args.flags & uapi::VGEM_FENCE_WRITE != 0;
        args.out_fence = file.inner().0.attach(dev, buffer.resv(), write)?;
        Ok(0)
    }

    pub(crate) fn fence_signal(
        _dev: &VgemDevice,
        args: &mut uapi::drm_vgem_fence_signal,
        file: &drm::File<Self>,
    ) -> Result<u32> {
        if args.flags != 0 {
            return Err(EINVAL);
        }
        file.inner().0.signal(args.fence).map(|()| 0)
    }
}
