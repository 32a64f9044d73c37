// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of DMA reservation objects.

use super::*;
use crate::{
    dma_fence::{
        DmaFenceCtx,
        DmaFenceNames,
        DriverDmaFence,
        UnarmedDmaFence, //
    },
    macros::kunit_tests,
    sync::aref::ARef, //
};

const ALL: [Usage; 4] = [Usage::Kernel, Usage::Write, Usage::Read, Usage::Bookkeep];

/// Returns a fence on a timeline of its own.
fn fence() -> Result<DriverDmaFence> {
    let names = DmaFenceNames::new(c"kunit", c"resv")?;

    Ok(DmaFenceCtx::new(names).arm(UnarmedDmaFence::new(GFP_KERNEL)?))
}

#[kunit_tests(rust_dma_resv)]
mod suite {
    use super::*;

    #[test]
    fn implicit() {
        assert!(Usage::implicit(true) == Usage::Read);
        assert!(Usage::implicit(false) == Usage::Write);
    }

    #[test]
    fn empty() -> Result {
        let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;

        for usage in ALL {
            assert!(resv.test_signaled(usage));
        }

        Ok(())
    }

    #[test]
    fn lock() -> Result {
        let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;

        let guard = resv.lock();
        assert!(resv.try_lock().is_none());
        drop(guard);

        let guard = resv.try_lock();
        assert!(guard.is_some());
        drop(guard);

        drop(resv.lock_interruptible()?);

        Ok(())
    }

    /// A query covers the usages up to the one that it names.
    #[test]
    fn usages() -> Result {
        for added in ALL {
            let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
            let fence = fence()?;

            let mut guard = resv.lock();
            guard.reserve_one()?.add(&fence, added);
            for asked in ALL {
                assert_eq!(guard.test_signaled(asked), asked < added);
            }
            drop(guard);

            fence.signal(Ok(()));
            for asked in ALL {
                assert!(resv.test_signaled(asked));
            }
        }

        Ok(())
    }

    #[test]
    fn reserve_bounds() -> Result {
        let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
        let mut guard = resv.lock();

        for n in [0, DmaResvGuard::MAX_SLOTS + 1, u32::MAX] {
            assert!(guard.reserve(n).err() == Some(EINVAL));
        }
        assert_eq!(guard.reserve(DmaResvGuard::MAX_SLOTS)?.count(), 1 << 16);

        Ok(())
    }

    #[test]
    fn add_shared() -> Result {
        let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
        let fence = fence()?;
        let shared: ARef<DmaFence> = ARef::from(&*fence);

        let mut guard = resv.lock();
        let added = guard.reserve_one()?.add_shared(&shared, Usage::Read);
        assert!(added.is_ok());
        drop(guard);

        assert!(resv.test_signaled(Usage::Write));
        assert!(!resv.test_signaled(Usage::Read));
        fence.signal(Ok(()));
        assert!(resv.test_signaled(Usage::Read));

        Ok(())
    }

    /// As many fences as slots go in, whatever was reserved and not used before.
    #[test]
    fn fill() -> Result {
        let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
        let mut fences = KVec::new();

        for n in 1..40 {
            let mut guard = resv.lock();
            let _ = guard.reserve(n / 2 + 1)?;
            for slot in guard.reserve(n)? {
                let fence = fence()?;
                slot.add(&fence, Usage::Bookkeep);
                fences.push(fence, GFP_KERNEL)?;
            }
        }

        assert_eq!(fences.len(), 780);
        while let Some(fence) = fences.pop() {
            assert!(!resv.test_signaled(Usage::Bookkeep));
            fence.signal(Ok(()));
        }
        assert!(resv.test_signaled(Usage::Bookkeep));

        Ok(())
    }
}
