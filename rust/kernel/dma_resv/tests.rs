// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of DMA reservation objects.

use super::*;
use crate::{
    dma_fence::{
        DmaFenceCtx,
        DmaFenceNames,
        DriverDmaFence,
        UnarmedDmaFence,
        WaitError, //
    },
    macros::kunit_tests,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Completion, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta,
        Jiffies, //
    },
    workqueue, //
};
use core::array;

const ALL: [Usage; 4] = [Usage::Kernel, Usage::Write, Usage::Read, Usage::Bookkeep];

/// Returns a fence on a new timeline.
fn fence() -> Result<DriverDmaFence> {
    let names = DmaFenceNames::new(c"kunit", c"resv")?;

    Ok(DmaFenceCtx::new(names).arm_last(UnarmedDmaFence::new(GFP_KERNEL)?))
}

/// Returns an object with a fence of each usage.
fn one_of_each() -> Result<(Pin<KBox<DmaResv>>, [DriverDmaFence; 4])> {
    let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
    let fences = [fence()?, fence()?, fence()?, fence()?];

    let mut guard = resv.lock();
    for ((slot, fence), usage) in guard.reserve(4)?.zip(&fences).zip(ALL) {
        slot.add(fence, usage);
    }
    drop(guard);

    Ok((resv, fences))
}

fn signal_all(fences: impl IntoIterator<Item = DriverDmaFence>) {
    for fence in fences {
        fence.signal(Ok(()));
    }
}

/// What the threads of the back-off test share.
#[pin_data]
struct BackOff {
    a: Pin<KBox<DmaResv>>,
    b: Pin<KBox<DmaResv>>,
    /// Whether `a` is wanted at the second attempt, too.
    again: bool,
    attempts: Atomic<usize>,
    locked: Atomic<bool>,
    #[pin]
    contended: Completion,
    #[pin]
    done: Completion,
}

impl BackOff {
    /// Runs in another thread, while the test has `a` locked with an older context.
    fn run(&self) {
        let (a, b) = (&*self.a, &*self.b);
        let resvs = [(b, true), (a, false), (b, false), (a, false)];
        let resvs = resvs.iter().copied().filter(|(resv, first)| {
            if *first {
                self.attempts.fetch_add(1, Relaxed);
            } else {
                // `b` is locked.
                self.contended.complete_all();
            }
            self.again || self.attempts.load(Relaxed) == 1 || ptr::eq(*resv, b)
        });

        let locked = lock_many(resvs, |guards| {
            let wanted = &[b, a][..if self.again { 2 } else { 1 }];
            Ok(self.a.is_locked() == self.again
                && guards.len() == wanted.len()
                && guards
                    .iter()
                    .zip(wanted)
                    .all(|((guard, _), resv)| ptr::eq(guard.resv(), *resv)))
        });

        self.locked.store(locked == Ok(true), Relaxed);
        self.done.complete_all();
    }
}

/// How many objects, threads, and rounds of each thread there are in the deadlock test; with
/// KMSAN less, which takes a stack trace at each allocation.
const OBJECTS: usize = 8;
const THREADS: usize = 4;
const ROUNDS: usize = if cfg!(CONFIG_KMSAN) { 200 } else { 2_000 };

/// What the threads of the deadlock test share.
#[pin_data]
struct Shared {
    resvs: [Pin<KBox<DmaResv>>; OBJECTS],
    /// For each object, how often it was locked; changed only with its lock held, but not
    /// atomically.
    counts: [Atomic<usize>; OBJECTS],
    /// The same in total, counted atomically.
    total: Atomic<usize>,
    attempts: Atomic<usize>,
    failed: Atomic<usize>,
    running: Atomic<usize>,
    #[pin]
    done: Completion,
}

/// A linear congruential generator, good enough to shuffle.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }
}

impl Shared {
    /// One round: locks some of the objects, in some order, one perhaps named twice.
    fn round(&self, random: &mut Random) -> Result {
        let picks: [usize; 5] = array::from_fn(|_| random.below(OBJECTS));
        let picks = picks.get(..2 + random.below(4)).ok_or(EINVAL)?;

        let resvs = picks.iter().enumerate().map(|(i, pick)| {
            if i == 0 {
                self.attempts.fetch_add(1, Relaxed);
            } else {
                // Let the other threads contend.
                //
                // SAFETY: It is fine to sleep here.
                unsafe { bindings::yield_() };
            }
            (&*self.resvs[*pick], *pick)
        });

        lock_many(resvs, |guards| {
            for (_, pick) in guards {
                let count = &self.counts[*pick];
                count.store(count.load(Relaxed) + 1, Relaxed);
                self.total.fetch_add(1, Relaxed);
            }
            Ok(())
        })
    }

    fn run(&self, seed: u64) {
        let mut random = Random(seed);

        for _ in 0..ROUNDS {
            if self.round(&mut random).is_err() {
                self.failed.fetch_add(1, Relaxed);
            }
        }

        if self.running.fetch_sub(1, Full) == 1 {
            self.done.complete_all();
        }
    }
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

        assert!(!resv.is_locked());
        let guard = resv.lock();
        assert!(resv.is_locked());
        drop(guard);
        assert!(!resv.is_locked());

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

    /// What is made of other fences has to be added one by one.
    #[test]
    fn add_shared_container() -> Result {
        let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
        let fence = fence()?;
        let array = DmaFence::new_array(&[&*fence, &*fence])?;

        let mut guard = resv.lock();
        let added = guard.reserve_one()?.add_shared(&array, Usage::Read);
        assert!(added.is_err());
        drop(guard);
        fence.signal(Ok(()));

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

    // What follows has the cases of drivers/dma-buf/st-dma-resv.c, and more.

    #[test]
    fn sanitycheck() -> Result {
        fence()?.signal(Ok(()));

        let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
        drop(resv.lock());

        Ok(())
    }

    #[test]
    fn signaling() -> Result {
        for usage in ALL {
            let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
            let fence = fence()?;

            let mut guard = resv.lock();
            guard.reserve_one()?.add(&fence, usage);
            assert!(!guard.test_signaled(usage));
            fence.signal(Ok(()));
            assert!(guard.test_signaled(usage));
        }

        Ok(())
    }

    #[test]
    fn for_each() -> Result {
        for usage in ALL {
            let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
            let fence = fence()?;

            let mut guard = resv.lock();
            assert!(guard.iter(usage).next().is_none());
            guard.reserve_one()?.add(&fence, usage);

            let mut iter = guard.iter(usage);
            let found = iter.next();
            assert!(found.is_some_and(|(f, u)| ptr::eq(f, &*fence) && u == usage));
            assert!(iter.next().is_none());
            assert!(iter.next().is_none());

            // A signaled fence stays until another one takes its place.
            fence.signal(Ok(()));
            assert_eq!(guard.iter(usage).count(), 1);
        }

        Ok(())
    }

    #[test]
    fn for_each_usages() -> Result {
        let (resv, fences) = one_of_each()?;

        let guard = resv.lock();
        for asked in ALL {
            let mut count = 0;
            for (_, usage) in guard.iter(asked) {
                assert!(usage <= asked);
                count += 1;
            }
            assert_eq!(count, asked as usize + 1);
        }
        drop(guard);

        signal_all(fences);
        Ok(())
    }

    #[test]
    fn get_fences() -> Result {
        for usage in ALL {
            let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
            let fence = fence()?;

            assert!(resv.get_fences(usage)?.is_empty());
            resv.lock().reserve_one()?.add(&fence, usage);

            let fences = resv.get_fences(usage)?;
            assert_eq!(fences.len(), 1);
            assert!(fences.first().is_some_and(|f| ptr::eq(&**f, &*fence)));

            fence.signal(Ok(()));
            assert!(resv.lock().get_fences(usage)?.is_empty());
        }

        Ok(())
    }

    #[test]
    fn wait_idle() -> Result {
        let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;

        for usage in ALL {
            assert_eq!(resv.wait(usage), Ok(()));
            assert_eq!(resv.wait_interruptible(usage), Ok(()));
            assert_eq!(resv.wait_timeout(usage, 0), Ok(1));
            assert_eq!(resv.wait_timeout(usage, 7), Ok(7));
            assert!(resv.wait_interruptible_timeout(usage, Jiffies::MAX).is_ok());
        }

        Ok(())
    }

    #[test]
    fn wait_busy() -> Result {
        let (resv, fences) = one_of_each()?;

        for usage in ALL {
            assert_eq!(resv.wait_timeout(usage, 0), Err(WaitError::TimedOut));
            assert_eq!(
                resv.lock().resv().wait_interruptible_timeout(usage, 1),
                Err(WaitError::TimedOut)
            );
        }
        assert!(Error::from(WaitError::TimedOut) == ETIMEDOUT);

        let [kernel, write, read, bookkeep] = fences;
        kernel.signal(Ok(()));
        assert_eq!(resv.wait_timeout(Usage::Kernel, 0), Ok(1));
        assert!(resv.wait_timeout(Usage::Write, 1).is_err());

        // That a fence has an error makes no difference.
        write.signal(Err(EIO));
        read.signal(Ok(()));
        assert_eq!(resv.wait(Usage::Read), Ok(()));

        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || bookkeep.signal(Ok(())))?;
        assert!(resv
            .wait_interruptible_timeout(Usage::Bookkeep, msecs_to_jiffies(10_000))
            .is_ok());

        Ok(())
    }

    #[test]
    fn lock_many_ignores_duplicates() -> Result {
        let resvs = [
            KBox::pin_init(DmaResv::new(), GFP_KERNEL)?,
            KBox::pin_init(DmaResv::new(), GFP_KERNEL)?,
            KBox::pin_init(DmaResv::new(), GFP_KERNEL)?,
        ];
        let [a, b, c] = &resvs;
        let named: [(&DmaResv, _); 6] = [(b, 0), (a, 1), (b, 2), (c, 3), (a, 4), (c, 5)];

        let check = |guards: &mut [(ManyGuard<'_>, i32)]| {
            Ok(guards.len() == 3
                && guards.iter().zip([(b, 0), (a, 1), (c, 3)]).all(
                    |((guard, data), (resv, first))| {
                        ptr::eq(guard.resv(), &**resv) && *data == first
                    },
                )
                && resvs.iter().all(|resv| resv.is_locked()))
        };
        assert!(lock_many(named.iter().copied(), check)?);
        assert!(resvs.iter().all(|resv| !resv.is_locked()));
        assert!(lock_many_interruptible(named.iter().copied(), check)?);
        assert!(resvs.iter().all(|resv| !resv.is_locked()));

        // None at all, and an error.
        assert!(lock_many(named[..0].iter().copied(), |guards| Ok(
            guards.is_empty()
        ))?);
        let e = lock_many(named.iter().copied(), |_| Err::<(), _>(ENODEV)).err();
        assert!(e == Some(ENODEV));
        assert!(resvs.iter().all(|resv| !resv.is_locked()));

        Ok(())
    }

    // What `lock_many()` iterates over is iterated over again when it has backed off.
    #[test]
    fn lock_many_backs_off() -> Result {
        for again in [true, false] {
            let shared = Arc::pin_init(
                try_pin_init!(BackOff {
                    a: KBox::pin_init(DmaResv::new(), GFP_KERNEL)?,
                    b: KBox::pin_init(DmaResv::new(), GFP_KERNEL)?,
                    again,
                    attempts: Atomic::new(0),
                    locked: Atomic::new(false),
                    contended <- Completion::new(),
                    done <- Completion::new(),
                }? Error),
                GFP_KERNEL,
            )?;

            let thread_shared = shared.clone();
            let let_go = lock_many([(&*shared.a, ())].into_iter(), |_| {
                workqueue::system_unbound().try_spawn(GFP_KERNEL, move || thread_shared.run())?;
                shared.contended.wait_for_completion();
                // It lets go of `b` to wait for `a`.
                Ok((0..10_000).any(|_| {
                    fsleep(Delta::from_millis(1));
                    !shared.b.is_locked()
                }))
            })?;
            shared.done.wait_for_completion();

            assert!(let_go);
            assert!(shared.locked.load(Relaxed));
            // DEBUG_WW_MUTEX_SLOWPATH may add an EDEADLK or two.
            assert!((2..5).contains(&shared.attempts.load(Relaxed)));
            assert!(!shared.a.is_locked() && !shared.b.is_locked());
        }

        Ok(())
    }

    /// Threads that lock overlapping sets in any order all get on.
    #[test]
    fn lock_many_contended() -> Result {
        let mut resvs = KVec::with_capacity(OBJECTS, GFP_KERNEL)?;
        for _ in 0..OBJECTS {
            resvs.push(KBox::pin_init(DmaResv::new(), GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let mut resvs = resvs.into_iter();
        let mut next = || resvs.next().ok_or(EINVAL);

        let shared = Arc::pin_init(
            try_pin_init!(Shared {
                resvs: [
                    next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?,
                ],
                counts: array::from_fn(|_| Atomic::new(0)),
                total: Atomic::new(0),
                attempts: Atomic::new(0),
                failed: Atomic::new(0),
                running: Atomic::new(THREADS),
                done <- Completion::new(),
            }? Error),
            GFP_KERNEL,
        )?;

        for thread in 0..THREADS {
            let thread_shared = shared.clone();
            workqueue::system_unbound()
                .try_spawn(GFP_KERNEL, move || thread_shared.run(thread as u64))?;
        }
        shared.done.wait_for_completion();

        assert_eq!(shared.failed.load(Relaxed), 0);
        let counted = shared.counts.iter().map(|count| count.load(Relaxed)).sum();
        assert_eq!(shared.total.load(Relaxed), counted);
        assert!(counted > 2 * THREADS * ROUNDS);

        // The back-off was taken, if only as DEBUG_WW_MUTEX_SLOWPATH asks for it.
        assert!(shared.attempts.load(Relaxed) > THREADS * ROUNDS);
        pr_info!(
            "lock_many_contended: {} attempts at {} sets\n",
            shared.attempts.load(Relaxed),
            THREADS * ROUNDS
        );

        Ok(())
    }
}
