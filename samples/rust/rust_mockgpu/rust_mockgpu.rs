// SPDX-License-Identifier: GPL-2.0

//! A mock GPU: a DRM driver with a job queue, to copy from.
//!
//! A client makes buffers, and submits jobs that use them. A job waits for fences, explicit ones
//! and those of its buffers, runs on hardware that is a timer, and signals its fence.
//! There is no stable ABI, and no use but as an example and for tests.
//!
//! Read it in this order:
//! - [`uapi`]: what user space sees,
//! - this file: the device and its buffers,
//! - [`file`](mod@file): a client and its ioctls, of which SUBMIT is the beginning of a job,
//! - [`queue`]: the rest of the life of a job.

use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    device::DeviceContext,
    dma_fence::*,
    dma_resv::*,
    drm::{
        self,
        gem::{
            self,
            BaseObject, //
        },
        ioctl,
        SyncObj, //
    },
    faux,
    fs::file::{
        flags::O_CLOEXEC,
        FileDescriptorReservation, //
    },
    impl_has_hr_timer,
    prelude::*,
    sync::{
        aref::ARef,
        new_mutex,
        new_spinlock,
        Arc,
        ArcBorrow,
        Mutex,
        MutexGuard,
        SpinLock, //
    },
    time::{
        self,
        hrtimer::*, //
    },
    uaccess,
    uapi::DRM_COMMAND_BASE,
    workqueue::{
        self,
        impl_has_work,
        new_work,
        OwnedQueue,
        Work,
        WorkItem, //
    },
};

// They use all of the above.
mod file;
mod queue;
mod uapi;

use file::File;
use queue::*;
use uapi::*;

module! {
    type: MockGpuModule,
    name: "rust_mockgpu",
    description: "Mock GPU, a Rust sample",
    license: "GPL",
}

/// The device, from module load to unload.
struct MockGpuModule {
    _reg: drm::FauxRegistration<MockGpu>,
}

impl kernel::Module for MockGpuModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let parent = faux::Registration::new(c"rust_mockgpu", None)?;
        let drm = drm::UnregisteredDevice::new(parent.as_ref(), Data::new())?;
        let reg = drm::FauxRegistration::new(parent, drm, Ok::<(), Error>(()), 0)?;

        Ok(Self { _reg: reg })
    }
}

struct MockGpu;

/// The DRM device of this driver.
type Device = drm::Device<MockGpu>;

/// What all clients of the device share.
///
/// The last reference to each queue is dropped with the device, when all files are closed and none
/// of their work items is left.
struct Data {
    /// What others see of the fences.
    names: ARef<DmaFenceNames>,
    /// Where jobs are run, and their fences signaled. Reclaim may wait for these.
    run: Arc<OwnedQueue>,
    /// Where the buffers of jobs that have ended are put. This may take the lock of a reservation
    /// object, with which others wait for fences, so it can't be done by those that signal them.
    cleanup: Arc<OwnedQueue>,
}

impl Data {
    fn new() -> Result<Self> {
        let run = workqueue::Queue::new_unbound().mem_reclaim();
        let cleanup = workqueue::Queue::new_unbound();

        Ok(Self {
            names: DmaFenceNames::new(c"rust_mockgpu", c"queue")?,
            run: Arc::new(run.build(fmt!("mockgpu-run"))?, GFP_KERNEL)?,
            cleanup: Arc::new(cleanup.build(fmt!("mockgpu-cleanup"))?, GFP_KERNEL)?,
        })
    }
}

#[vtable]
impl drm::Driver for MockGpu {
    type Data = Data;
    type RegistrationData<'a> = ();
    type File = File;
    type Object = Object;
    type ParentDevice<Ctx: DeviceContext> = faux::Device<Ctx>;

    const INFO: drm::DriverInfo = drm::DriverInfo {
        major: 0,
        minor: 1,
        patchlevel: 0,
        name: c"rust_mockgpu",
        desc: c"Mock GPU",
    };

    const FEAT_RENDER: bool = true;
    const FEAT_SYNCOBJ: bool = true;
    const FEAT_SYNCOBJ_TIMELINE: bool = true;

    // None of them accesses the parent device, so none needs the device to be registered, and WAIT
    // may wait.
    kernel::declare_drm_ioctls! {
        (MOCKGPU_CREATE, Create, ioctl::RENDER_ALLOW, File::create),
        (MOCKGPU_SUBMIT, Submit, ioctl::RENDER_ALLOW, File::submit),
        (MOCKGPU_WAIT, Wait, ioctl::RENDER_ALLOW, File::wait),
    }
}

/// A buffer.
type Object = gem::shmem::Object<Buffer>;

/// The driver's part of a buffer: nothing.
struct Buffer;

#[vtable]
impl gem::DriverObject for Buffer {
    type Driver = MockGpu;
    type Args = ();

    fn new(_dev: &Device, _size: usize, _args: ()) -> impl PinInit<Self, Error> {
        Ok(Self)
    }

    fn create_object(_dev: &Device, _size: usize) -> impl PinInit<Self, Error> {
        Ok(Self)
    }
}
