// SPDX-License-Identifier: GPL-2.0

//! A module with `/dev/faults`, which makes one of everything that the abstractions allocate memory
//! for, so that `user.c` can let each of these allocations fail.

use kernel::{
    device::DeviceContext,
    dma::DmaMask,
    dma_fence::{
        DmaFence,
        DmaFenceCtx,
        DmaFenceNames,
        DriverDmaFence,
        SyncFile,
        UnarmedChainNode,
        UnarmedDmaFence,
        UnarmedDmaFenceCb, //
    },
    dma_resv::{
        self,
        DmaResv,
        Usage, //
    },
    drm::{
        self,
        gem::shmem,
        SyncObj, //
    },
    faux,
    fs::{
        file::{
            flags::O_CLOEXEC,
            FileDescriptorReservation, //
        },
        File, //
    },
    io::Io,
    ioctl::_IO,
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Completion, //
    },
    time::{
        hrtimer::{
            HrTimerFn,
            HrTimerNext,
            HrTimerPointer,
            RelativeMode, //
        },
        Delta,
        Monotonic, //
    },
    xarray::{
        AllocKind,
        XArray,
        XArrayIrq, //
    }, //
};

module! {
    type: Faults,
    name: "faults",
    authors: ["The rustgem project"],
    description: "Test of abstractions whose allocations fail",
    license: "GPL v2",
}

/// Does what the argument says, a place in [`ATTEMPTS`].
const ATTEMPT: u32 = _IO('f' as u32, 2);

#[pin_data]
struct Faults {
    #[pin]
    device: MiscDeviceRegistration<Device>,
}

impl kernel::InPlaceModule for Faults {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            device <- MiscDeviceRegistration::register(MiscDeviceOptions { name: c"faults" }),
        })
    }
}

struct Device;

#[vtable]
impl MiscDevice for Device {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _device: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        Ok(KBox::new(Self, GFP_KERNEL)?)
    }

    fn ioctl(_device: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            ATTEMPT => ATTEMPTS.get(arg).ok_or(EDOM)?().map(|()| 0),
            _ => Err(ENOTTY),
        }
    }
}

/// A fence that is signalled when it is dropped.
struct Fence(Option<DriverDmaFence>, ARef<DmaFence>);

impl Fence {
    fn new() -> Result<Self> {
        let names = DmaFenceNames::new(c"faults", c"attempt")?;
        let fence = DmaFenceCtx::new(names).arm(UnarmedDmaFence::new(GFP_KERNEL)?);
        let shared = ARef::from(&*fence);

        Ok(Self(Some(fence), shared))
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        if let Some(fence) = self.0.take() {
            fence.signal(Ok(()));
        }
    }
}

/// What allocates memory. user.c has the names, and the errors that are not `ENOMEM`.
const ATTEMPTS: &[fn() -> Result] = &[
    || Fence::new().map(drop),
    || {
        let data = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        UnarmedDmaFence::with_data(pin_init!(Data { _done: data }), GFP_KERNEL).map(drop)
    },
    || DmaFence::new_array(&[&Fence::new()?.1, &Fence::new()?.1]).map(drop),
    || {
        let (a, b) = (Fence::new()?, Fence::new()?);
        let a = UnarmedChainNode::new(GFP_KERNEL)?.link(None, a.1.clone(), 1)?;
        UnarmedChainNode::new(GFP_KERNEL)?.link(Some(a), b.1.clone(), 2)?;
        Ok(())
    },
    || {
        let (a, b) = (Fence::new()?, Fence::new()?);
        DmaFence::merge(&[&a.1, &b.1]).map(drop)
    },
    || {
        let fence = Fence::new()?;
        let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        let cb = UnarmedDmaFenceCb::new(done, GFP_KERNEL)?.register(fence.1.clone())?;
        drop(fence);
        drop(cb);
        Ok(())
    },
    || {
        let fence = Fence::new()?;
        FileDescriptorReservation::get_unused_fd_flags(O_CLOEXEC)?;
        Ok(drop(SyncFile::new(&fence.1)?))
    },
    || {
        let (a, b) = (Fence::new()?, Fence::new()?);
        let src = resv()?;

        let mut guard = src.lock();
        for (slot, fence) in guard.reserve(2)?.zip([&a, &b]) {
            let _ = slot.add_shared(&fence.1, Usage::Read);
        }
        drop(guard);

        match src.get_fences(Usage::Read)?.len() {
            2 => Ok(()),
            _ => Err(EINVAL),
        }
    },
    || {
        let fence = Fence::new()?;
        let (a, b) = (resv()?, resv()?);

        dma_resv::lock_many([(&*a, ()), (&*b, ())].into_iter(), |guards| {
            let mut slots = KVec::new();
            for (guard, ()) in guards {
                slots.push(guard.reserve_one()?, GFP_KERNEL)?;
            }
            for slot in slots {
                let _ = slot.add_shared(&fence.1, Usage::Write);
            }
            Ok(())
        })
    },
    || {
        let fence = Fence::new()?;
        let syncobj = SyncObj::new(Some(&fence.1))?;
        syncobj.add_point(UnarmedChainNode::new(GFP_KERNEL)?, &fence.1, 1)?;
        Ok(())
    },
    || {
        // What the closure has goes with it.
        let mut calls = KBox::new(0u32, GFP_KERNEL)?;
        let timer = HrTimerFn::<_, RelativeMode<Monotonic>>::new(move || {
            *calls += 1;
            HrTimerNext::Done
        });
        let timer = KBox::pin_init(timer, GFP_KERNEL)?;
        drop(timer.start(Delta::from_secs(1)));
        Ok(())
    },
    || {
        let xa = KBox::pin_init(XArray::new(AllocKind::Alloc), GFP_KERNEL)?;
        // Far apart, so that there are nodes in between.
        for index in [0u32, 1 << 20, 1 << 30] {
            xa.alloc_cyclic(KBox::new(0, GFP_KERNEL)?, index..=index, GFP_KERNEL)?;
        }
        let last = KBox::new(0, GFP_KERNEL)?;
        xa.lock().store(1 << 10, last, GFP_KERNEL)?;
        Ok(())
    },
    || {
        let xa = KBox::pin_init(
            XArrayIrq::with_options(AllocKind::Alloc1.into()),
            GFP_KERNEL,
        )?;
        for i in 0..70 {
            xa.alloc_cyclic(KBox::new(i, GFP_KERNEL)?, 1..=u32::MAX, GFP_KERNEL)?;
        }
        Ok(())
    },
    || faux::Registration::new(c"faults", None).map(drop),
    || {
        let (parent, drm) = device()?;
        let obj = shmem::Object::<Object>::new(&drm, 3 * PAGE_SIZE, config(), ())?;
        let other = shmem::ObjectConfig {
            parent_resv_obj: Some(&*obj),
            ..config()
        };
        shmem::Object::<Object>::new(&drm, PAGE_SIZE, other, ())?;
        obj.vmap::<PAGE_SIZE>()?.write8(1, 0);
        let map = obj.vmap::<PAGE_SIZE>()?;
        let parent: &faux::Device<_> = parent.as_ref();
        let table = obj.owned_sg_table(parent.as_ref())?;
        drop(obj);
        drop(map);
        drop(table);
        Ok(())
    },
    || {
        let (parent, drm) = device()?;
        drm::FauxRegistration::new(parent, drm, Ok::<(), Error>(()), 0).map(drop)
    },
    // Last, what user.c has to find fault with: it leaks if its second allocation fails.
    || {
        let first = KBox::new([0u8; 5000], GFP_KERNEL)?;
        if KBox::new(0u64, GFP_KERNEL).is_err() {
            core::mem::forget(first);
            return Err(ENOMEM);
        }
        Ok(())
    },
];

#[pin_data]
struct Data {
    _done: Arc<Completion>,
}

fn resv() -> Result<Pin<KBox<DmaResv>>> {
    KBox::pin_init(DmaResv::new(), GFP_KERNEL)
}

/// The smallest DRM driver, for devices that nobody opens.
struct Driver;

#[pin_data]
struct DriverData {
    names: ARef<DmaFenceNames>,
}

fn device() -> Result<(faux::Registration, drm::UnregisteredDevice<Driver>)> {
    let parent = faux::Registration::with_dma_mask(c"faults", None, DmaMask::new::<64>())?;
    let data = try_pin_init!(DriverData {
        names: DmaFenceNames::new(c"faults", c"device")?,
    });
    let drm = drm::UnregisteredDevice::new(parent.as_ref(), data)?;

    Ok((parent, drm))
}

#[vtable]
impl drm::Driver for Driver {
    type Data = DriverData;
    type RegistrationData<'a> = ();
    type File = DriverFile;
    type Object = shmem::Object<Object>;
    type ParentDevice<Ctx: DeviceContext> = faux::Device<Ctx>;

    const INFO: drm::DriverInfo = drm::DriverInfo {
        major: 0,
        minor: 0,
        patchlevel: 0,
        name: c"faults",
        desc: c"Test of allocations that fail",
    };

    const FEAT_RENDER: bool = true;
    const FEAT_SYNCOBJ: bool = true;

    const IOCTLS: &'static [drm::ioctl::DrmIoctlDescriptor<Self>] = &[];
}

struct DriverFile;

impl drm::file::DriverFile for DriverFile {
    type Driver = Driver;

    fn open(_dev: &drm::Device<Driver>) -> Result<Pin<KBox<Self>>> {
        Ok(KBox::pin(Self, GFP_KERNEL)?)
    }
}

#[pin_data]
struct Object {
    _memory: KBox<u64>,
}

#[vtable]
impl drm::gem::DriverObject for Object {
    type Driver = Driver;
    type Args = ();

    fn new(_dev: &drm::Device<Driver>, _size: usize, _args: ()) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _memory: KBox::new(0, GFP_KERNEL)?,
        })
    }
}

fn config<'a>() -> shmem::ObjectConfig<'a, Object> {
    shmem::ObjectConfig::default()
}
