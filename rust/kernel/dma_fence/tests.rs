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
        rcu,
        Arc, //
    },
};
use core::mem::ManuallyDrop;

fn ctx() -> Result<DmaFenceCtx> {
    Ok(DmaFenceCtx::new(DmaFenceNames::new(c"kunit", c"timeline")?))
}

fn fence(ctx: &mut DmaFenceCtx) -> Result<(DriverDmaFence, ARef<DmaFence>)> {
    let fence = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
    let shared = ARef::from(&*fence);

    Ok((fence, shared))
}

fn timeline_name<'a>(fence: &DmaFence, _rcu: &'a rcu::Guard) -> &'a CStr {
    // SAFETY: The fence is valid, and the name is valid for the critical section.
    unsafe { CStr::from_char_ptr(bindings::dma_fence_timeline_name(fence.as_raw())) }
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

        // As good as `forget()`, but for being taken back in the end.
        let fence = ManuallyDrop::new(fence);

        assert!(!shared.is_signaled());
        assert!(timeline_name(&shared, &rcu::read_lock()) == c"timeline");

        ManuallyDrop::into_inner(fence).signal(Ok(()));

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

        assert!(timeline_name(&shared, &rcu::read_lock()) == c"timeline");

        // Who found the names in time can use them for as long as RCU lets him.
        let rcu = rcu::read_lock();
        let name = timeline_name(&shared, &rcu);
        fence.signal(Ok(()));
        assert!(name == c"timeline");
        assert!(timeline_name(&shared, &rcu) == c"signaled-timeline");

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
