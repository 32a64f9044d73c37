// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of taking fences apart and merging them: a counterpart to each case of
//! `drivers/dma-buf/st-dma-fence-unwrap.c`, with the name that it has there after `test_`.

use super::*;
use crate::{
    macros::kunit_tests,
    sync::aref::ARef, //
};
use core::ptr;

/// A fence in a new context, which signals when it is dropped.
struct Mock(Option<DriverDmaFence>, ARef<DmaFence>);

impl Mock {
    fn new() -> Result<Self> {
        let names = DmaFenceNames::new(c"kunit", c"unwrap")?;

        Self::on(&mut DmaFenceCtx::new(names))
    }

    fn on(ctx: &mut DmaFenceCtx) -> Result<Self> {
        let fence = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
        let shared = ARef::from(&*fence);

        Ok(Self(Some(fence), shared))
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        if let Some(fence) = self.0.take() {
            fence.signal(Ok(()));
        }
    }
}

fn chain(prev: Option<&DmaFence>, fence: &DmaFence) -> Result<ARef<DmaFence>> {
    let node = UnarmedChainNode::new(GFP_KERNEL)?;

    Ok(node.link(prev.map(ARef::from), ARef::from(fence), 1)?)
}

/// Whether `fence` is made of these, in this order.
fn is_made_of(fence: &DmaFence, parts: &[&DmaFence]) -> bool {
    let mut found = fence.unwrap_iter();

    parts
        .iter()
        .all(|part| found.next().is_some_and(|found| ptr::eq(&*found, *part)))
        && found.next().is_none()
        && found.next().is_none()
}

#[kunit_tests(rust_dma_fence_unwrap_st)]
mod suite {
    use super::*;

    #[test]
    fn sanitycheck() -> Result {
        let f = Mock::new()?;
        let array = DmaFence::new_array(&[&f.1])?;
        let chain = chain(None, &array)?;

        assert!(array.is_container() && !array.is_chain());
        assert!(is_made_of(&chain, &[&f.1]));

        // Arrays can't be empty, nor contain others or chains.
        assert!(DmaFence::new_array(&[]).err() == Some(EINVAL));
        assert!(DmaFence::new_array(&[&f.1, &array]).err() == Some(EINVAL));
        assert!(DmaFence::new_array(&[&chain]).err() == Some(EINVAL));

        Ok(())
    }

    #[test]
    fn unwrap_array() -> Result {
        let (f1, f2) = (Mock::new()?, Mock::new()?);
        let array = DmaFence::new_array(&[&f1.1, &f2.1])?;

        assert!(is_made_of(&array, &[&f1.1, &f2.1]));

        // Stopping halfway leaves nothing behind.
        assert!(array.unwrap_iter().next().is_some());
        drop(array.unwrap_iter());

        Ok(())
    }

    #[test]
    fn unwrap_chain() -> Result {
        let (f1, f2) = (Mock::new()?, Mock::new()?);
        let chain = chain(Some(&f1.1), &f2.1)?;

        assert!(is_made_of(&chain, &[&f2.1, &f1.1]));
        assert!(chain.unwrap_iter().next().is_some());

        Ok(())
    }

    #[test]
    fn unwrap_chain_array() -> Result {
        let (f1, f2) = (Mock::new()?, Mock::new()?);
        let array = DmaFence::new_array(&[&f1.1, &f2.1])?;

        assert!(is_made_of(&*chain(None, &array)?, &[&f1.1, &f2.1]));

        Ok(())
    }

    #[test]
    fn unwrap_merge() -> Result {
        let (f1, f2) = (Mock::new()?, Mock::new()?);
        let f3 = DmaFence::merge(&[&f1.1, &f2.1])?;

        assert!(is_made_of(&f3, &[&f1.1, &f2.1]));

        // Of nothing and of what is signaled, there is a fence that is signaled.
        assert!(DmaFence::merge(&[])?.is_signaled());
        assert!(DmaFence::merge(&[&DmaFence::stub()])?.is_signaled());

        Ok(())
    }

    #[test]
    fn unwrap_merge_duplicate() -> Result {
        let f1 = Mock::new()?;
        let f2 = DmaFence::merge(&[&f1.1, &f1.1])?;

        assert!(ptr::eq(&*f2, &*f1.1));

        Ok(())
    }

    #[test]
    fn unwrap_merge_seqno() -> Result {
        let names = DmaFenceNames::new(c"kunit", c"unwrap")?;
        let mut first = DmaFenceCtx::new(names.clone());
        let mut second = DmaFenceCtx::new(names);
        let (f1, f2) = (Mock::on(&mut second)?, Mock::on(&mut second)?);
        let f3 = Mock::on(&mut first)?;

        // In the order of the contexts, and the latest of each.
        let f4 = DmaFence::merge(&[&f1.1, &f2.1, &f3.1])?;
        assert!(is_made_of(&f4, &[&f3.1, &f2.1]));

        Ok(())
    }

    #[test]
    fn unwrap_merge_order() -> Result {
        let (f1, f2) = (Mock::new()?, Mock::new()?);
        let a1 = DmaFence::new_array(&[&f1.1, &f2.1])?;
        let c1 = chain(None, &f1.1)?;
        let c2 = chain(Some(&c1), &f2.1)?;

        // What is in the chain has the opposite order.
        let a2 = DmaFence::merge(&[&a1, &c2])?;
        assert!(is_made_of(&a2, &[&f1.1, &f2.1]));

        Ok(())
    }

    #[test]
    fn unwrap_merge_complex() -> Result {
        let (f1, f2) = (Mock::new()?, Mock::new()?);
        let f3 = DmaFence::merge(&[&f1.1, &f2.1])?;
        let f4 = DmaFence::new_array(&[&f2.1, &f1.1])?;

        let f5 = DmaFence::merge(&[&f3, &f4, &DmaFence::stub()])?;
        assert!(is_made_of(&f5, &[&f1.1, &f2.1]));

        Ok(())
    }

    #[test]
    fn unwrap_merge_complex_seqno() -> Result {
        let names = DmaFenceNames::new(c"kunit", c"unwrap")?;
        let mut first = DmaFenceCtx::new(names.clone());
        let mut second = DmaFenceCtx::new(names);
        let (f3, f1) = (Mock::on(&mut first)?, Mock::on(&mut first)?);
        let (f2, f4) = (Mock::on(&mut second)?, Mock::on(&mut second)?);

        let f5 = DmaFence::new_array(&[&f1.1, &f2.1])?;
        let f6 = DmaFence::new_array(&[&f3.1, &f4.1])?;

        let f7 = DmaFence::merge(&[&f5, &f6])?;
        assert!(is_made_of(&f7, &[&f1.1, &f4.1]));

        Ok(())
    }
}
