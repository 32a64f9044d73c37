// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of chains: a counterpart to each case of `drivers/dma-buf/st-dma-fence-chain.c`,
//! with the name that it has there after `test_`.

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

            link.enable_signaling();
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

    /// Whether `found` is a link.
    fn is_link(&self, i: usize, found: &Option<ARef<DmaFence>>) -> bool {
        match (self.links.get(i), found) {
            (Some(link), Some(found)) => ptr::eq(&**link, &**found),
            _ => false,
        }
    }

    /// Looks for links while others are signalled.
    fn find(&self, mut random: usize) -> Result {
        for _ in 0..LONG {
            // Any numbers will do, as long as they are spread.
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let i = (random >> 8) % self.links.len();
            let seqno = i as u64 + 1;

            if let Some(found) = self.tail()?.chain_find_seqno(seqno)? {
                if found.seqno() == seqno {
                    found.chain_find_seqno(seqno)?;
                }
            }

            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            self.signal((random >> 8) % (self.links.len() - 1));
        }

        Ok(())
    }

    /// Has a thread wait for the chain while the fences in it are signalled in this order.
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

fn by_two(i: usize) -> u64 {
    2 * i as u64 + 2
}

#[kunit_tests(rust_dma_fence_chain_st)]
mod suite {
    use super::*;

    #[test]
    fn sanitycheck() -> Result {
        let names = DmaFenceNames::new(c"kunit", c"chain")?;
        let fence = DmaFenceCtx::new(names).arm_last(UnarmedDmaFence::new(GFP_KERNEL)?);
        let chain = UnarmedChainNode::new(GFP_KERNEL)?.link(None, ARef::from(&*fence), 1)?;

        chain.enable_signaling();
        assert!(chain.is_chain() && chain.is_container() && !chain.is_array());
        assert!(ptr::eq(chain.chain_contained(), &*fence));
        assert!(ptr::eq(fence.chain_contained(), &*fence));

        // A chain can't contain a chain.
        let invalid = UnarmedChainNode::new(GFP_KERNEL)?.link(None, chain.clone(), 2);
        let back = invalid.err().ok_or(EINVAL)?;
        assert!(ptr::eq(&*back.fence, &*chain));

        fence.signal(Ok(()));

        Ok(())
    }

    #[test]
    fn find_seqno() -> Result {
        let chains = Chains::new(64, by_one)?;

        assert!(chains.is_link(63, &chains.tail()?.chain_find_seqno(0)?));

        for i in 0..64 {
            let found = chains.tail()?.chain_find_seqno(by_one(i))?;
            assert!(chains.is_link(i, &found));

            let found = found.ok_or(EINVAL)?;
            assert!(chains.is_link(i, &found.chain_find_seqno(by_one(i))?));
            assert!(found.chain_find_seqno(by_one(i + 1)).err() == Some(EINVAL));

            let before = found.chain_find_seqno(i as u64)?;
            assert!(i == 0 || chains.is_link(i - 1, &before));
        }

        Ok(())
    }

    #[test]
    fn find_signaled() -> Result {
        let chains = Chains::new(2, by_one)?;

        chains.signal(0);

        let found = chains.tail()?.chain_find_seqno(1)?;
        assert!(found.is_none() || chains.is_link(0, &found));

        Ok(())
    }

    #[test]
    fn find_out_of_order() -> Result {
        let chains = Chains::new(3, by_one)?;

        chains.signal(1);

        // The link that is signalled is gone, but that before it has to be waited for.
        assert!(chains.is_link(0, &chains.tail()?.chain_find_seqno(2)?));

        Ok(())
    }

    #[test]
    fn find_gap() -> Result {
        let chains = Chains::new(64, by_two)?;

        for i in 0..64 {
            let found = chains.tail()?.chain_find_seqno(by_two(i) - 1)?;
            assert!(chains.is_link(i, &found));

            let found = found.ok_or(EINVAL)?;
            assert!(chains.is_link(i, &found.chain_find_seqno(by_two(i))?));
        }

        Ok(())
    }

    #[test]
    fn find_race() -> Result {
        let chains = Chains::new(LONG, by_one)?;

        let other = chains.clone();
        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
            if let Err(error) = other.find(1) {
                other.errno.store(error.to_errno(), Relaxed);
            }
            other.done.complete_all();
        })?;

        let result = chains.find(2);
        chains.done.wait_for_completion();

        assert!(result.is_ok());
        assert_eq!(chains.errno.load(Relaxed), 0);

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
