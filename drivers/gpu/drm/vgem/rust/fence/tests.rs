// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of what becomes of a client's fences.

use super::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::time::delay::fsleep;
use kernel::workqueue;

struct Client {
    fences: Fences,
    names: ARef<DmaFenceNames>,
    resv: Pin<KBox<DmaResv>>,
}

impl Client {
    fn new() -> Result<Self> {
        Ok(Self {
            fences: Fences::new()?,
            names: DmaFenceNames::new(c"vgem", c"unbound")?,
            resv: KBox::pin_init(DmaResv::new(), GFP_KERNEL)?,
        })
    }

    fn attach(&self) -> Result<u32> {
        self.fences.attach(&self.names, &self.resv, false)
    }

    fn signal(&self, id: u32) -> Result {
        self.fences.signal(id)
    }

    /// Returns the fence that was attached last.
    fn last(&self) -> Result<ARef<DmaFence>> {
        let guard = self.resv.lock();
        let last = guard.iter(Usage::Read).last();
        last.map(|(fence, _)| ARef::from(fence)).ok_or(ENOENT)
    }

    fn blocks(&self) -> usize {
        self.fences
            .0
            .target()
            .state
            .lock()
            .table
            .blocks
            .keys()
            .count()
    }

    fn armed(&self) -> bool {
        self.fences.0.target().state.lock().armed
    }
}

/// When the time of all fences is up that were attached before this is called, and of none that is
/// attached later.
fn timeout() -> Instant<Monotonic> {
    let now = Instant::now();
    while Instant::now() - now <= Delta::ZERO {
        core::hint::spin_loop();
    }
    now + TIMEOUT
}

/// Takes the lock of the table when the fence is signaled, as other locks may be taken.
struct TakesLock {
    shared: Arc<Shared>,
    calls: Arc<Atomic<u32>>,
}

// SAFETY: `call()` only takes a lock that is not held while fences are queried. The registration is
// not leaked.
unsafe impl DmaFenceCbFunc for TakesLock {
    fn call(self: Pin<&Self>, _status: Result) {
        // A lock that is held is no reason to hang.
        if self.shared.state.try_lock().is_some() {
            // Lockdep does not look at a lock that is only tried.
            drop(self.shared.state.lock());
            self.calls.fetch_add(1, Relaxed);
        }
    }
}

#[kunit_tests(rust_vgem_fence)]
mod tests {
    use super::*;

    #[test]
    fn ids() -> Result {
        let client = Client::new()?;
        let attach = |id| {
            assert_eq!(client.attach()?, id);
            client.last()
        };

        assert_eq!(client.signal(0), Err(ENOENT));
        assert_eq!(client.signal(1), Err(ENOENT));
        let fences = [attach(1)?, attach(2)?, attach(3)?];
        for id in [0, 4, u32::MAX, 1 << 31, 1 << 31 | 2] {
            assert_eq!(client.signal(id), Err(ENOENT));
        }
        assert_eq!(client.signal(2), Ok(()));
        assert_eq!(client.signal(2), Err(ENOENT));
        let signaled = fences.map(|fence| fence.is_signaled());
        assert_eq!(signaled, [false, true, false]);
        assert_eq!(client.attach()?, 4);

        Ok(())
    }

    #[test]
    fn busy() -> Result {
        let client = Client::new()?;
        let attach = |write| client.fences.attach(&client.names, &client.resv, write);

        // Any number may read, while nobody writes.
        assert_eq!(attach(false), Ok(1));
        assert_eq!(attach(false), Ok(2));
        assert_eq!(attach(true), Err(EBUSY));
        client.signal(1)?;
        client.signal(2)?;

        assert_eq!(attach(true), Ok(3));
        assert_eq!(attach(false), Err(EBUSY));
        assert_eq!(attach(true), Err(EBUSY));

        // Closing signals.
        let Client { fences, resv, .. } = client;
        drop(fences);
        assert!(resv.test_signaled(Usage::Bookkeep));

        Ok(())
    }

    // A buffer is known to be busy while another client holds its lock.
    #[test]
    fn busy_while_locked() -> Result {
        let client = Client::new()?;

        let id = client.fences.attach(&client.names, &client.resv, true)?;
        let guard = client.resv.lock();
        assert_eq!(client.attach(), Err(EBUSY));
        drop(guard);

        client.signal(id)
    }

    #[test]
    fn expiry() -> Result {
        let client = Client::new()?;
        let shared = client.fences.0.target();

        for id in 1..=150 {
            assert_eq!(client.attach()?, id);
        }
        let now = timeout();
        for id in 151..=300 {
            assert_eq!(client.attach()?, id);
        }

        // The others are still pending.
        let left = shared.expire(now);
        assert!(left.is_some_and(|left| left > Delta::ZERO && left <= TIMEOUT));
        assert!(!client.resv.test_signaled(Usage::Bookkeep));
        assert!(client.armed());

        for id in 1..=150 {
            assert_eq!(client.signal(id), Err(ETIMEDOUT));
            assert_eq!(client.signal(id), Err(ENOENT));
        }
        for id in 151..=299 {
            assert_eq!(client.signal(id), Ok(()));
        }

        // What is left, and where the next fence goes.
        assert!(client.blocks() <= 2);
        assert_eq!(shared.expire(timeout()), None);
        assert!(!client.armed());
        assert!(client.resv.test_signaled(Usage::Bookkeep));

        // The timer is started again.
        assert_eq!(client.attach()?, 301);
        assert!(client.armed());
        assert_eq!(client.signal(300), Err(ETIMEDOUT));
        assert!(client.blocks() <= 1);

        Ok(())
    }

    // Fences that expired are neither looked at again, nor in the way of later ones.
    #[test]
    fn expired_stay() -> Result {
        let client = Client::new()?;

        for round in 0..3 {
            for _ in 0..100 {
                client.attach()?;
            }
            // The oldest one and the newest one were signaled in time.
            client.signal(round * 100 + 1)?;
            client.signal(round * 100 + 100)?;
            assert_eq!(client.fences.0.target().expire(timeout()), None);
            assert!(client.resv.test_signaled(Usage::Bookkeep));
        }
        for id in 1..=300 {
            let expected = match id % 100 {
                0 | 1 => ENOENT,
                _ => ETIMEDOUT,
            };
            assert_eq!(client.signal(id), Err(expected));
        }
        assert!(client.blocks() <= 1);

        Ok(())
    }

    // A client that knows that a fence has expired finds it signaled.
    #[test]
    fn expiring() -> Result {
        let client = Client::new()?;
        let id = client.attach()?;
        let shared = client.last()?;

        let fence = {
            let mut state = client.fences.0.target().state.lock();
            let fence = state.table.expire(timeout()).map_err(|_| EINVAL)?;
            state.expiring = Some(shared.clone());
            fence
        };
        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
            fsleep(Delta::from_millis(20));
            fence.signal(Ok(()));
        })?;
        assert!(!shared.is_signaled());
        assert_eq!(client.signal(id), Err(ETIMEDOUT));
        assert!(shared.is_signaled());

        Ok(())
    }

    // A later fence does not put off the timer, which goes with the client.
    #[test]
    fn one_timer() -> Result {
        let client = Client::new()?;
        let shared = client.fences.0.target().clone();

        client.attach()?;
        let expires = shared.timer.expires();
        let _ = timeout();
        client.attach()?;
        assert_eq!(shared.timer.expires() - expires, Delta::ZERO);

        drop(client.fences);
        assert!(Arc::into_unique_or_drop(shared).is_some());

        Ok(())
    }

    // The timer goes on as long as a fence is pending, and the next one starts it again.
    #[test]
    fn timer() -> Result {
        let mut client = Client::new()?;
        let is_ahead = |client: &Client| {
            let left = client.fences.0.target().timer.expires() - Instant::now();
            left > Delta::from_secs(5) && left <= Delta::from_secs(10) + SLACK
        };
        // Lets the timer expire, and waits until it has looked at the table.
        let expire = |client: &Client| {
            client.fences.0.restart(Delta::ZERO);
            for _ in 0..1000 {
                if !client.armed() || is_ahead(client) {
                    break;
                }
                fsleep(Delta::from_millis(1));
            }
        };

        let id = client.attach()?;
        assert!(is_ahead(&client));
        expire(&client);
        assert!(is_ahead(&client));
        assert!(client.fences.0.cancel());

        client.signal(id)?;
        expire(&client);
        assert!(!client.armed());
        assert!(!client.fences.0.cancel());
        client.attach()?;
        assert!(is_ahead(&client));
        assert!(client.fences.0.cancel());

        Ok(())
    }

    // However a fence ends, it has no error.
    #[test]
    fn status() -> Result {
        let client = Client::new()?;
        let attach = || -> Result<_> { Ok((client.attach()?, client.last()?)) };

        let (id, signaled) = attach()?;
        client.signal(id)?;
        let (_, expired) = attach()?;
        assert_eq!(client.fences.0.target().expire(timeout()), None);
        let (_, closed) = attach()?;
        drop(client.fences);

        for fence in [signaled, expired, closed] {
            assert_eq!(fence.status(), Some(Ok(())));
        }

        Ok(())
    }

    // Others may take any lock when a fence is signaled, even one under which fences are attached.
    #[test]
    fn signals_without_lock() -> Result {
        let client = Client::new()?;
        let calls = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let attach = || -> Result<_> {
            let id = client.attach()?;
            let cb = TakesLock {
                shared: client.fences.0.target().clone(),
                calls: calls.clone(),
            };
            let cb = UnarmedDmaFenceCb::new(cb, GFP_KERNEL)?;
            let cb = cb.register(client.last()?).map_err(|_| EINVAL)?;
            Ok((id, cb))
        };

        let (id, _cb) = attach()?;
        client.signal(id)?;
        assert_eq!(calls.load(Relaxed), 1);

        let (_, _cb) = attach()?;
        assert_eq!(client.fences.0.target().expire(timeout()), None);
        assert_eq!(calls.load(Relaxed), 2);

        Ok(())
    }

    #[test]
    fn wrap() -> Result {
        let client = Client::new()?;

        assert_eq!(client.attach()?, 1);
        assert_eq!(client.attach()?, 2);
        assert_eq!(client.fences.0.target().expire(timeout()), None);

        client.fences.0.target().state.lock().table.newest = table::ID_MASK - 1;
        assert_eq!(client.attach()?, i32::MAX as u32);
        assert_eq!(client.attach()?, 1);

        // 1 is a new fence, and 2 still the old one.
        assert_eq!(client.signal(1), Ok(()));
        assert_eq!(client.signal(1), Err(ENOENT));
        assert_eq!(client.signal(2), Err(ETIMEDOUT));
        assert_eq!(client.signal(i32::MAX as u32), Ok(()));

        Ok(())
    }

    // A client that has one fence at a time keeps one block.
    #[test]
    fn one_at_a_time() -> Result {
        let client = Client::new()?;

        for id in 1..=200 {
            assert_eq!(client.attach()?, id);
            assert_eq!(client.signal(id), Ok(()));
            assert!(client.blocks() <= 1);
        }

        Ok(())
    }
}
