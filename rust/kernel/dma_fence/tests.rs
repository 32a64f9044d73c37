// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of DMA fences.

use super::*;
use crate::{
    macros::kunit_tests,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};
use core::mem;

fn ctx() -> Result<DmaFenceCtx> {
    Ok(DmaFenceCtx::new(DmaFenceNames::new(c"kunit", c"timeline")?))
}

fn fence(ctx: &mut DmaFenceCtx) -> Result<(DriverDmaFence, ARef<DmaFence>)> {
    let fence = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
    let shared = ARef::from(&*fence);

    Ok((fence, shared))
}

/// Counts its calls, and keeps the errno of the last one.
struct Count {
    calls: Atomic<i32>,
    errno: Atomic<i32>,
}

impl Count {
    fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                calls: Atomic::new(0),
                errno: Atomic::new(0),
            },
            GFP_KERNEL,
        )?)
    }
}

impl DmaFenceCbFunc for Arc<Count> {
    fn call(self: Pin<&Self>, status: Result) {
        self.calls.store(self.calls.load(Relaxed) + 1, Relaxed);
        if let Err(e) = status {
            self.errno.store(e.to_errno(), Relaxed);
        }
    }
}

#[kunit_tests(rust_dma_fence)]
mod suite {
    use super::*;

    #[test]
    fn signal_ok() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        assert!(!shared.is_signaled());
        assert!(shared.status().is_none());

        fence.signal(Ok(()));

        assert!(shared.is_signaled());
        assert!(matches!(shared.status(), Some(Ok(()))));

        Ok(())
    }

    #[test]
    fn signal_error() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        fence.signal(Err(ENODATA));

        assert!(shared.status() == Some(Err(ENODATA)));

        Ok(())
    }

    #[test]
    fn drop_unsignaled() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        drop(fence);

        assert!(shared.status() == Some(Err(ECANCELED)));

        Ok(())
    }

    #[test]
    fn drop_unarmed() -> Result {
        let mut ctx = ctx()?;
        drop(UnarmedDmaFence::new(GFP_KERNEL)?);
        let (fence, _) = fence(&mut ctx)?;

        // A fence that was never armed leaves no gap.
        assert_eq!(fence.seqno(), 1);
        fence.signal(Ok(()));

        Ok(())
    }

    #[test]
    fn leak() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        mem::forget(fence);

        assert!(!shared.is_signaled());
        // SAFETY: The fence is unsignalled, so it has its names, under RCU or not.
        let name =
            unsafe { CStr::from_char_ptr(bindings::dma_fence_timeline_name(shared.as_raw())) };
        assert!(name == c"timeline");

        Ok(())
    }

    #[test]
    fn order() -> Result {
        let mut a = ctx()?;
        let mut b = ctx()?;
        let (a1, _) = fence(&mut a)?;
        let (b1, _) = fence(&mut b)?;
        let (a2, _) = fence(&mut a)?;

        assert_eq!(a1.context(), a.context());
        assert_eq!(a1.context(), a2.context());
        assert!(a1.context() != b1.context());
        assert_eq!(a1.seqno(), 1);
        assert_eq!(a2.seqno(), 2);
        assert_eq!(b1.seqno(), 1);

        for fence in [a1, a2, b1] {
            fence.signal(Ok(()));
        }

        Ok(())
    }

    #[test]
    fn names() -> Result {
        let max = c"0123456789012345678901234567890";
        let long = c"01234567890123456789012345678901";

        assert_eq!(max.to_bytes().len(), 31);
        assert!(DmaFenceNames::new(max, max).is_ok());
        assert!(DmaFenceNames::new(long, max).err() == Some(ENAMETOOLONG));
        assert!(DmaFenceNames::new(max, long).err() == Some(ENAMETOOLONG));

        // The fence keeps the names, and detaches from them when it is signalled.
        let mut ctx = ctx()?;
        let (fence, shared) = fence(&mut ctx)?;
        drop(ctx);

        let driver_name = || {
            // SAFETY: The fence is valid. The suite is the only one to signal it, so its names can't
            // be freed meanwhile.
            unsafe { CStr::from_char_ptr(bindings::dma_fence_driver_name(shared.as_raw())) }
        };
        assert!(driver_name() == c"kunit");
        fence.signal(Ok(()));
        assert!(driver_name() == c"detached-driver");

        Ok(())
    }

    #[test]
    fn callback_called_once() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let count = Count::new()?;
        let cb = KBox::pin_init(DmaFenceCb::new(shared, count.clone()), GFP_KERNEL)?;

        assert_eq!(cb.calls.load(Relaxed), 0);
        fence.signal(Err(EIO));
        assert_eq!(cb.calls.load(Relaxed), 1);
        assert_eq!(cb.errno.load(Relaxed), EIO.to_errno());

        drop(cb);
        assert_eq!(count.calls.load(Relaxed), 1);

        Ok(())
    }

    #[test]
    fn callback_removed() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let count = Count::new()?;

        drop(KBox::pin_init(
            DmaFenceCb::new(shared, count.clone()),
            GFP_KERNEL,
        )?);
        fence.signal(Ok(()));

        assert_eq!(count.calls.load(Relaxed), 0);

        Ok(())
    }

    #[test]
    fn callback_already_signaled() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let count = Count::new()?;
        fence.signal(Ok(()));

        let place = KBox::<DmaFenceCb<Arc<Count>>>::new_uninit(GFP_KERNEL)?;
        let back = place
            .write_pin_init(DmaFenceCb::new(shared.clone(), count.clone()))
            .err()
            .ok_or(EINVAL)?;

        assert!(Arc::ptr_eq(&back.data, &count));
        assert!(core::ptr::eq(&*back.fence, &*shared));
        assert_eq!(count.calls.load(Relaxed), 0);

        Ok(())
    }
}
