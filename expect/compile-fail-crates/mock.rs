// SPDX-License-Identifier: GPL-2.0
//! A DRM driver, or rather one for each `Kind`, for cases that need one.

use core::marker::PhantomData;
use kernel::{device, drm::{self, gem, ioctl::*}, faux, prelude::*, uapi};

pub const DRM_IOCTL_VGEM_FENCE_ATTACH: u32 =
    IOWR::<uapi::drm_vgem_fence_attach>(uapi::DRM_COMMAND_BASE + uapi::DRM_VGEM_FENCE_ATTACH);
pub const DRM_IOCTL_VGEM_FENCE_SIGNAL: u32 =
    IOW::<uapi::drm_vgem_fence_signal>(uapi::DRM_COMMAND_BASE + uapi::DRM_VGEM_FENCE_SIGNAL);

module! {
    type: Mock,
    name: "mock",
    license: "GPL",
}

pub struct Mock;

impl kernel::Module for Mock {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

/// What a driver registers with its device. In this crate there is one, but others may add more.
pub trait Kind: Send + Sync + 'static {
    type Data<'a>: Send + Sync + 'a;
}

impl Kind for () {
    type Data<'a> = ();
}

pub struct Driver<K = ()>(PhantomData<K>);
pub struct File<K = ()>(PhantomData<K>);
pub struct Object<K = ()>(PhantomData<K>);

impl<K: Kind> drm::file::DriverFile for File<K> {
    type Driver = Driver<K>;

    fn open(_dev: &drm::Device<Driver<K>>) -> Result<Pin<KBox<Self>>> {
        Ok(KBox::new(Self(PhantomData), GFP_KERNEL)?.into())
    }
}

#[vtable]
impl<K: Kind> gem::DriverObject for Object<K> {
    type Driver = Driver<K>;
    type Args = ();

    fn new(_: &drm::Device<Driver<K>>, _: usize, _: ()) -> impl PinInit<Self, Error> {
        Ok(Self(PhantomData))
    }
}

#[vtable]
impl<K: Kind> drm::Driver for Driver<K> {
    type Data = ();
    type RegistrationData<'a> = K::Data<'a>;
    type File = File<K>;
    type Object = gem::Object<Object<K>>;
    type ParentDevice<Ctx: device::DeviceContext> = faux::Device<Ctx>;

    const INFO: drm::DriverInfo = drm::DriverInfo {
        major: 0,
        minor: 0,
        patchlevel: 0,
        name: c"mock",
        desc: c"Mock",
    };

    // Here, `K` might be taken for `()` where it is inferred from what this crate knows.
    kernel::declare_drm_ioctls! {
        (VGEM_FENCE_ATTACH, drm_vgem_fence_attach, RENDER_ALLOW, attach),
        (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, signal),
    }
}

pub fn attach<K: Kind>(
    _dev: &drm::Device<Driver<K>, drm::Registered>,
    _reg_data: &K::Data<'_>,
    _args: &mut uapi::drm_vgem_fence_attach,
    _file: &drm::File<File<K>>,
) -> Result<u32> {
    Ok(0)
}

pub fn signal<K: Kind>(
    _dev: &drm::Device<Driver<K>>,
    _args: &mut uapi::drm_vgem_fence_signal,
    _file: &drm::File<File<K>>,
) -> Result<u32> {
    Ok(0)
}

