// SPDX-License-Identifier: GPL-2.0 OR MIT

//! KUnit tests of GPUVMs.

use super::*;
use crate::{
    device,
    drm::{
        gem::{
            shmem,
            BaseObject, //
        },
        UnregisteredDevice, //
    },
    faux,
    macros::kunit_tests,
    page::PAGE_SIZE,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc,
        Completion, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    workqueue, //
};

struct KunitDriver;
struct KunitFile;
struct KunitVm;

#[pin_data]
struct KunitObject {}

type Object = shmem::Object<KunitObject>;

impl drm::file::DriverFile for KunitFile {
    type Driver = KunitDriver;

    fn open(_dev: &drm::Device<KunitDriver>) -> Result<Pin<KBox<Self>>> {
        Ok(KBox::new(Self, GFP_KERNEL)?.into())
    }
}

#[vtable]
impl drm::gem::DriverObject for KunitObject {
    type Driver = KunitDriver;
    type Args = ();

    fn new(_: &drm::Device<KunitDriver>, _: usize, (): ()) -> impl PinInit<Self, Error> {
        try_pin_init!(KunitObject {})
    }
}

#[vtable]
impl drm::Driver for KunitDriver {
    type Data = ();
    type RegistrationData<'a> = ();
    type File = KunitFile;
    type Object = Object;
    type ParentDevice<Ctx: device::DeviceContext> = faux::Device<Ctx>;

    const INFO: drm::DriverInfo = drm::DriverInfo {
        major: 0,
        minor: 0,
        patchlevel: 0,
        name: c"kunit",
        desc: c"Kunit",
    };
    const IOCTLS: &'static [drm::ioctl::DrmIoctlDescriptor<Self>] = &[];
}

// Nothing is mapped.
impl DriverGpuVm for KunitVm {
    type Driver = KunitDriver;
    type Object = Object;
    type VaData = ();
    type VmBoData = ();
    type SmContext<'ctx>
        = ()
    where
        Self: 'ctx;

    fn sm_step_map<'op>(
        &mut self,
        _: OpMap<'op, Self>,
        _context: &mut Self::SmContext<'_>,
    ) -> Result<OpMapped<'op, Self>, Error> {
        Err(EOPNOTSUPP)
    }

    fn sm_step_unmap<'op>(
        &mut self,
        _: OpUnmap<'op, Self>,
        _context: &mut Self::SmContext<'_>,
    ) -> Result<OpUnmapped<'op, Self>, Error> {
        Err(EOPNOTSUPP)
    }

    fn sm_step_remap<'op>(
        &mut self,
        _: OpRemap<'op, Self>,
        _context: &mut Self::SmContext<'_>,
    ) -> Result<OpRemapped<'op, Self>, Error> {
        Err(EOPNOTSUPP)
    }
}

/// What a thread that obtains an object shares with the one that has the lock.
#[pin_data]
struct Obtain {
    vm: UniqueRefGpuVm<KunitVm>,
    obj: ARef<Object>,
    obtained: Atomic<bool>,
    #[pin]
    begun: Completion,
}

#[kunit_tests(rust_drm_gpuvm)]
mod suite {
    use super::*;

    // Only for an external object, `obtain()` takes the lock of the GPUVM.
    #[test]
    fn obtain_locks() -> Result {
        let reg = faux::Registration::new(c"kunit-gpuvm", None)?;
        let drm = UnregisteredDevice::<KunitDriver>::new(reg.as_ref(), Ok(()))?;
        let new = |parent_resv_obj| {
            let config = shmem::ObjectConfig {
                parent_resv_obj,
                ..Default::default()
            };
            Object::new(&drm, PAGE_SIZE, config, ())
        };

        let own = new(None)?;
        let (child, external) = (new(Some(&own))?, new(None)?);
        let range = 0..1 << 32;
        let vm = GpuVm::new::<Error, _>(c"kunit", &*drm, &*own, range, 0..0, KunitVm)?;
        let obtain = Arc::pin_init(
            pin_init!(Obtain {
                vm,
                obj: external,
                obtained: Atomic::new(false),
                begun <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        assert!(obtain.vm.is_extobj(&obtain.obj));
        assert!(!obtain.vm.is_extobj(&child));

        let guard = own.resv().lock();
        drop(obtain.vm.obtain(&child, ())?);
        let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        let (other, others_done) = (obtain.clone(), done.clone());
        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
            other.begun.complete_all();
            let obtained = other.vm.obtain(&other.obj, ()).is_ok();
            other.obtained.store(obtained, Release);
            drop(other);
            others_done.complete_all();
        })?;
        obtain.begun.wait_for_completion();
        fsleep(Delta::from_millis(20));
        assert!(!obtain.obtained.load(Acquire));

        drop(guard);
        done.wait_for_completion();
        assert!(obtain.obtained.load(Acquire));
        obtain.vm.deferred_cleanup();

        Ok(())
    }
}
