// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of chains: a counterpart to each case of `drivers/dma-buf/st-dma-fence-chain.c`,
//! with the name that it has there after `test_`. Those of `dma_fence_chain_find_seqno()` are among
//! the tests of DRM sync objects, as drivers find points through `SyncObj::find_fence()`.

use super::*;
use crate::{
    macros::kunit_tests,
    new_spinlock,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion,
        SpinLock, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    workqueue, //
};
use core::ptr;

/// The length of the chains that threads work on.
const LONG: usize = 1024;

/// A chain, the fences in it, and its links.
#[pin_data(PinnedDrop)]
struct Chains {
    #[pin]
    fences: SpinLock<KVec<Option<DriverDmaFence>>>,
    links: KVec<ARef<DmaFence>>,
    #[pin]
    done: Completion,
    errno: Atomic<i32>,
}

impl Chains {
    fn new(count: usize, seqno: fn(usize) -> u64) -> Result<Arc<Self>> {
        let names = DmaFenceNames::new(c"kunit", c"chain")?;
        let mut fences = KVec::with_capacity(count, GFP_KERNEL)?;
        let mut links = KVec::<ARef<DmaFence>>::with_capacity(count, GFP_KERNEL)?;

        for i in 0..count {
            let node = UnarmedChainNode::new(GFP_KERNEL)?;
            let fence = DmaFenceCtx::new(names.clone()).arm_last(UnarmedDmaFence::new(GFP_KERNEL)?);
            let link = node.link(links.last().cloned(), ARef::from(&*fence), seqno(i))?;

            links.push(link, GFP_KERNEL)?;
            fences.push(Some(fence), GFP_KERNEL)?;
        }

        Arc::pin_init(
            pin_init!(Self {
                fences <- new_spinlock!(fences),
                links,
                done <- Completion::new(),
                errno: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    fn tail(&self) -> Result<&ARef<DmaFence>> {
        self.links.last().ok_or(EINVAL)
    }

    /// Signals the fence in a link, if it isn't yet.
    fn signal(&self, i: usize) {
        let fence = self.fences.lock().get_mut(i).and_then(|fence| fence.take());

        if let Some(fence) = fence {
            fence.signal(Ok(()));
        }
    }

    /// Has a thread wait for the chain while the fences in it are signaled in this order.
    fn wait(self: Arc<Self>, order: impl Iterator<Item = usize>) -> Result {
        let other = self.clone();
        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
            if let Err(error) = other.wait_tail() {
                other.errno.store(error.to_errno(), Relaxed);
            }
            other.done.complete_all();
        })?;

        // Let it begin.
        fsleep(Delta::from_millis(1));

        for i in order {
            self.signal(i);
        }
        self.done.wait_for_completion();

        match self.errno.load(Relaxed) {
            0 => Ok(()),
            errno => Err(Error::from_errno(errno)),
        }
    }

    fn wait_tail(&self) -> Result {
        Ok(self.tail()?.wait()?)
    }
}

#[pinned_drop]
impl PinnedDrop for Chains {
    fn drop(self: Pin<&mut Self>) {
        for i in 0..self.links.len() {
            self.signal(i);
        }
    }
}

fn by_one(i: usize) -> u64 {
    i as u64 + 1
}

#[kunit_tests(rust_dma_fence_chain_st)]
mod suite {
    use super::*;

    #[test]
    fn sanitycheck() -> Result {
        let names = DmaFenceNames::new(c"kunit", c"chain")?;
        let fence = DmaFenceCtx::new(names).arm_last(UnarmedDmaFence::new(GFP_KERNEL)?);
        let chain = UnarmedChainNode::new(GFP_KERNEL)?.link(None, ARef::from(&*fence), 1)?;

        assert!(chain.is_chain() && chain.is_container());
        assert!(!fence.is_chain() && !fence.is_container());

        // A chain can't contain a chain.
        let invalid = UnarmedChainNode::new(GFP_KERNEL)?.link(None, chain.clone(), 2);
        let back = invalid.err().ok_or(EINVAL)?;
        assert!(ptr::eq(&*back.fence, &*chain));

        fence.signal(Ok(()));

        Ok(())
    }

    #[test]
    fn signal_forward() -> Result {
        let chains = Chains::new(64, by_one)?;

        for i in 0..64 {
            chains.signal(i);
            assert!(chains.links[i].is_signaled());
            assert!(i == 63 || !chains.links[i + 1].is_signaled());
        }

        Ok(())
    }

    #[test]
    fn signal_backward() -> Result {
        let chains = Chains::new(64, by_one)?;

        for i in (0..64).rev() {
            chains.signal(i);
            assert!(i == 0 || !chains.links[i].is_signaled());
        }
        for link in &chains.links {
            assert!(link.is_signaled());
        }

        Ok(())
    }

    #[test]
    fn wait_forward() -> Result {
        Chains::new(LONG, by_one)?.wait(0..LONG)
    }

    #[test]
    fn wait_backward() -> Result {
        Chains::new(LONG, by_one)?.wait((0..LONG).rev())
    }

    #[test]
    fn wait_random() -> Result {
        // `LONG` is a power of two, so that this comes to each number once.
        Chains::new(LONG, by_one)?.wait((0..LONG).map(|i| (i * 405 + 7) % LONG))
    }
}
