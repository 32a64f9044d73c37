// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of DMA fences: a counterpart to each case of `drivers/dma-buf/st-dma-fence.c`, with
//! the name that it has there after `test_`.

use super::{
    tests::{
        ctx,
        fence,
        register,
        Count, //
    },
    *, //
};
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
    task::MAX_SCHEDULE_TIMEOUT,
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta,
        Jiffies, //
    },
    workqueue, //
};

/// What the two threads of `race_signal_callback` share.
#[pin_data]
struct Exchange {
    #[pin]
    fences: SpinLock<[Option<ARef<DmaFence>>; 2]>,
    #[pin]
    done: Completion,
    errno: Atomic<i32>,
}

impl Exchange {
    /// Publishes fences, and looks at those that the other thread has published.
    fn run(&self, me: usize, before: bool) -> Result {
        let mut ctx = ctx()?;

        for _ in 0..2000 {
            let (driver, shared) = fence(&mut ctx)?;
            let mut driver = Some(driver);

            let [ours, theirs] = [me & 1, (me & 1) ^ 1];
            let other = {
                let mut fences = self.fences.lock();
                let old = fences[ours].replace(shared);
                let other = fences[theirs].clone();
                drop(fences);
                drop(old);
                other
            };

            if before {
                if let Some(driver) = driver.take() {
                    driver.signal(Ok(()));
                }
            }

            let count = Count::new()?;
            let cb = match other {
                Some(other) => register(other, &count).ok(),
                None => None,
            };

            if let Some(driver) = driver {
                driver.signal(Ok(()));
            }

            if let Some(cb) = cb {
                cb.fence().wait()?;
                // Once this has had the lock, the callback has run.
                let _ = cb.fence().status();
                if count.calls.load(Relaxed) != 1 {
                    return Err(EINVAL);
                }
            }
        }

        Ok(())
    }
}

#[kunit_tests(rust_dma_fence_st)]
mod suite {
    use super::*;

    #[test]
    fn sanitycheck() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        fence.signal(Ok(()));
        assert!(shared.is_signaled());

        Ok(())
    }

    #[test]
    fn signaling() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        assert!(!shared.is_signaled());
        fence.signal(Ok(()));
        assert!(shared.is_signaled());

        // The operations are detached: the name is not the timeline's any more.
        assert!(shared.timeline_name(&rcu::read_lock()) != c"timeline");

        Ok(())
    }

    #[test]
    fn add_callback() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let cb = register(shared, &Count::new()?)?;

        fence.signal(Ok(()));
        assert_eq!(cb.data().calls.load(Relaxed), 1);

        Ok(())
    }

    #[test]
    fn late_add_callback() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let count = Count::new()?;

        fence.signal(Ok(()));

        let cb = register(shared, &count);
        assert!(cb.err() == Some(ENOENT));
        assert_eq!(count.calls.load(Relaxed), 0);

        Ok(())
    }

    #[test]
    fn rm_callback() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let (cb, called) = register(shared, &Count::new()?)?.remove();

        assert!(!called);
        fence.signal(Ok(()));
        assert_eq!(cb.take().calls.load(Relaxed), 0);

        Ok(())
    }

    #[test]
    fn late_rm_callback() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;
        let cb = register(shared, &Count::new()?)?;

        fence.signal(Ok(()));
        assert_eq!(cb.data().calls.load(Relaxed), 1);
        assert!(cb.remove().1);

        Ok(())
    }

    #[test]
    fn status() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        assert!(shared.status().is_none());
        fence.signal(Ok(()));
        assert!(shared.status().is_some());

        Ok(())
    }

    #[test]
    fn error() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        assert!(shared.status().is_none());
        fence.signal(Err(EIO));
        assert!(shared.status() == Some(Err(EIO)));

        Ok(())
    }

    #[test]
    fn wait() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        assert!(shared.wait_timeout(0) == Err(WaitError::TimedOut));
        assert!(shared.wait_interruptible_timeout(0) == Err(WaitError::TimedOut));

        fence.signal(Ok(()));
        assert!(shared.wait_timeout(0) == Ok(1));
        // There is no limit.
        assert!(shared.wait_timeout(Jiffies::MAX) == Ok(MAX_SCHEDULE_TIMEOUT as Jiffies));
        assert!(shared.wait_interruptible_timeout(0) == Ok(1));
        assert!(shared.wait().is_ok());
        assert!(shared.wait_interruptible().is_ok());

        Ok(())
    }

    #[test]
    fn wait_timeout() -> Result {
        let (fence, shared) = fence(&mut ctx()?)?;

        assert!(shared.wait_timeout(1) == Err(WaitError::TimedOut));

        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
            fsleep(Delta::from_millis(50));
            fence.signal(Ok(()));
        })?;

        let timeout = msecs_to_jiffies(10_000);
        let left = shared.wait_timeout(timeout)?;
        assert!(left > 0 && left < timeout);

        Ok(())
    }

    #[test]
    fn stub() -> Result {
        let mut stubs = KVec::with_capacity(64, GFP_KERNEL)?;

        for _ in 0..64 {
            let stub = DmaFence::stub();
            assert!(stub.is_signaled());
            stubs.push(stub, GFP_KERNEL)?;
        }

        Ok(())
    }

    #[test]
    fn race_signal_callback() -> Result {
        for before in [false, true] {
            let exchange = Arc::pin_init(
                pin_init!(Exchange {
                    fences <- new_spinlock!([None, None]),
                    done <- Completion::new(),
                    errno: Atomic::new(0),
                }),
                GFP_KERNEL,
            )?;

            let other = exchange.clone();
            workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
                if let Err(error) = other.run(1, before) {
                    other.errno.store(error.to_errno(), Relaxed);
                }
                other.done.complete_all();
            })?;

            let result = exchange.run(0, before);
            exchange.done.wait_for_completion();

            assert!(result.is_ok());
            assert_eq!(exchange.errno.load(Relaxed), 0);
        }

        Ok(())
    }
}
