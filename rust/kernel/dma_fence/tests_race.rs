// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of DMA fences that are signaled by another thread.

use super::{
    tests::{
        ctx,
        fence,
        queue,
        register,
        Count,
        Item, //
    },
    *, //
};
use crate::{
    macros::kunit_tests,
    processor::cpu_relax,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion, //
    },
    time::{
        delay::{
            fsleep,
            udelay, //
        },
        msecs_to_jiffies,
        Delta,
        Instant,
        Monotonic, //
    },
    workqueue, //
};

/// The number of rounds is the product: 30,000 for each test, but 1,000 with KMSAN, which takes a
/// stack trace at each allocation.
const BATCHES: usize = if cfg!(CONFIG_KMSAN) { 2 } else { 60 };
const BATCH: usize = 500;

/// Keeps two threads close to each other, without their having to wait.
#[pin_data]
struct Pace {
    at: [Atomic<usize>; 2],
    #[pin]
    done: Completion,
}

impl Pace {
    /// Reports that the thread `me` has come to `round`, and gives the other some time to catch up.
    fn step(&self, me: usize, round: usize) {
        let [ours, theirs] = [&self.at[me & 1], &self.at[(me & 1) ^ 1]];

        ours.store(round, Relaxed);
        for _ in 0..200 {
            if theirs.load(Relaxed) >= round {
                break;
            }
            cpu_relax();
        }
    }
}

/// Calls `round` for fences while another thread signals them.
fn race(mut round: impl FnMut(&ARef<DmaFence>) -> Result) -> Result {
    let mut ctx = ctx()?;

    for _ in 0..BATCHES {
        let mut shared = KVec::with_capacity(BATCH, GFP_KERNEL)?;
        let mut driver = KVec::with_capacity(BATCH, GFP_KERNEL)?;
        for _ in 0..BATCH {
            let (fence, for_others) = fence(&mut ctx)?;
            shared.push(for_others, GFP_KERNEL)?;
            driver.push(fence, GFP_KERNEL)?;
        }

        let pace = Arc::pin_init(
            pin_init!(Pace {
                at: [Atomic::new(0), Atomic::new(0)],
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;

        let other = pace.clone();
        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
            for (i, fence) in driver.into_iter().enumerate() {
                other.step(1, i);
                fence.signal(Ok(()));
            }
            other.done.complete_all();
        })?;

        let result = shared.iter().enumerate().try_for_each(|(i, fence)| {
            pace.step(0, i);
            round(fence)
        });

        pace.done.wait_for_completion();
        result?;
    }

    Ok(())
}

/// Is called until another thread drops it, and then for some time.
struct Slow {
    begun: Atomic<bool>,
    dropping: Atomic<bool>,
    ended: Atomic<bool>,
}

/// Spins until `done`, but not longer than this.
fn spin(limit: Delta, done: impl Fn() -> bool) {
    let start = Instant::<Monotonic>::now();

    // Where time does not go on meanwhile, this comes to an end all the same.
    for _ in 0..1_000_000 {
        if done() || start.elapsed() > limit {
            break;
        }
        cpu_relax();
    }
}

// SAFETY: `call()` does nothing to a fence. The callback is not leaked.
unsafe impl DmaFenceCbFunc for Arc<Slow> {
    fn call(self: Pin<&Self>, _status: Result) {
        self.begun.store(true, Relaxed);
        // With one CPU, nobody drops it meanwhile.
        spin(Delta::from_millis(20), || self.dropping.load(Relaxed));
        spin(Delta::from_millis(2), || false);
        self.ended.store(true, Relaxed);
    }
}

/// Fails unless `good`.
fn check(good: bool) -> Result {
    if good {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// Waits until the fence is signaled and its callbacks have run.
fn settle(fence: &DmaFence) -> Result {
    fence.wait()?;
    fence.status().ok_or(EINVAL)?
}

#[kunit_tests(rust_dma_fence_race)]
mod suite {
    use super::*;

    #[test]
    fn signal_against_add() -> Result {
        race(|fence| {
            let count = Count::new()?;

            match register(fence.clone(), &count) {
                Ok(_cb) => {
                    settle(fence)?;
                    check(count.calls.load(Relaxed) == 1)
                }
                Err(error) => {
                    check(error == ENOENT && fence.is_signaled())?;
                    settle(fence)?;
                    check(count.calls.load(Relaxed) == 0)
                }
            }
        })
    }

    #[test]
    fn signal_against_remove() -> Result {
        race(|fence| {
            let count = Count::new()?;
            let Ok(cb) = register(fence.clone(), &count) else {
                return check(fence.is_signaled());
            };

            // Who can't remove it sees that it has run.
            let calls = i32::from(cb.remove().1);
            check(count.calls.load(Relaxed) == calls)?;

            settle(fence)?;
            check(count.calls.load(Relaxed) == calls)
        })
    }

    #[test]
    fn signal_against_drop() -> Result {
        race(|fence| {
            let count = Count::new()?;
            let Ok(cb) = register(fence.clone(), &count) else {
                return check(fence.is_signaled());
            };

            // It has run or it won't.
            drop(cb);
            let calls = count.calls.load(Relaxed);
            check(calls == 0 || calls == 1)?;

            settle(fence)?;
            check(count.calls.load(Relaxed) == calls)
        })
    }

    // With two CPUs, each of these is dropped or removed while it is called.
    #[test]
    fn drop_waits() -> Result {
        let mut ctx = ctx()?;

        for round in 0..20 {
            let (fence, shared) = fence(&mut ctx)?;
            let slow = Arc::new(
                Slow {
                    begun: Atomic::new(false),
                    dropping: Atomic::new(false),
                    ended: Atomic::new(false),
                },
                GFP_KERNEL,
            )?;
            let cb = UnarmedDmaFenceCb::new(slow.clone(), GFP_KERNEL)?.register(shared)?;

            workqueue::system_unbound().try_spawn(GFP_KERNEL, move || fence.signal(Ok(())))?;
            // While this spins, the callback is called on another CPU, if there is one.
            spin(Delta::from_millis(5), || slow.begun.load(Relaxed));
            while !slow.begun.load(Relaxed) {
                fsleep(Delta::from_micros(100));
            }

            slow.dropping.store(true, Relaxed);
            if round % 2 == 0 {
                drop(cb);
            } else {
                check(cb.remove().1)?;
            }
            check(slow.ended.load(Relaxed))?;
        }

        Ok(())
    }

    // No item is left when the queue was dropped, whether one was enqueued before or not.
    #[test]
    fn signal_against_queue() -> Result {
        let mut ctx = ctx()?;

        for round in 0..200 {
            let (fence, shared) = fence(&mut ctx)?;
            let (queue, item) = (queue()?, Item::new()?);
            let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
            let work = QueueWork::new(&queue, item.clone());
            let cb = UnarmedDmaFenceCb::new(work, GFP_KERNEL)?.register(shared)?;

            let signaled = done.clone();
            workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
                fence.signal(Ok(()));
                signaled.complete_all();
            })?;
            udelay(Delta::from_micros(round % 50));
            drop(queue);
            done.wait_for_completion();

            check(cb.remove().1)?;
            check(Arc::into_unique_or_drop(item).is_some())?;
        }

        Ok(())
    }

    #[test]
    fn signal_against_wait() -> Result {
        race(|fence| {
            fence.wait_timeout(msecs_to_jiffies(10_000))?;
            check(fence.is_signaled() && fence.status() == Some(Ok(())))
        })
    }
}
