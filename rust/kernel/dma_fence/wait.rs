// SPDX-License-Identifier: GPL-2.0

//! Waiting for fences.

use super::DmaFence;
use crate::{
    bindings,
    ffi::c_long,
    prelude::*,
    task::MAX_SCHEDULE_TIMEOUT,
    time::Jiffies, //
};

/// Why a wait ended without the fence being signaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// The time is over. The fence may have been signaled since.
    TimedOut,
    /// A signal is pending for the thread, which waited interruptibly.
    Interrupted,
    /// The fence's driver waits in its own way and reports this, e.g. [`EDEADLK`] as the hardware
    /// hangs. As in C, callers should treat the fence as signaled then.
    Failed(Error),
}

/// [`ETIMEDOUT`], [`ERESTARTSYS`], or what the driver reports.
impl From<WaitError> for Error {
    #[inline]
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::TimedOut => ETIMEDOUT,
            WaitError::Interrupted => ERESTARTSYS,
            WaitError::Failed(error) => error,
        }
    }
}

/// Converts a timeout to the argument of `dma_fence_wait_timeout()`.
#[inline]
pub(crate) fn timeout_to_c(timeout: Jiffies) -> c_long {
    timeout.try_into().unwrap_or(MAX_SCHEDULE_TIMEOUT)
}

/// Converts the return value of `dma_fence_wait_timeout()`.
#[inline]
pub(crate) fn outcome_from_c(ret: c_long) -> Result<Jiffies, WaitError> {
    if ret == 0 {
        return Err(WaitError::TimedOut);
    }

    Jiffies::try_from(ret).map_err(|_| {
        // An errno fits an `i32`; what does not is none.
        let error = Error::from_errno(i32::try_from(ret).unwrap_or(EINVAL.to_errno()));

        if error == ERESTARTSYS {
            WaitError::Interrupted
        } else {
            WaitError::Failed(error)
        }
    })
}

/// # Waiting
///
/// All of these may sleep, even if the timeout is zero. Don't call them in code
/// that a fence needs to be signaled, nor with a lock held that such code takes. Lockdep reports
/// the latter, see [`signalling()`].
///
/// Timeouts are in jiffies. [`Jiffies::MAX`], as every value that does not fit a `long`, means to
/// wait without a limit.
///
/// That a wait succeeds says that the fence is signaled, not how its work has ended; for that, see
/// [`status`](Self::status).
///
/// # Examples
///
/// ```
/// use kernel::dma_fence::{
///     DmaFence,
///     WaitError, //
/// };
/// # use kernel::dma_fence::{DmaFenceCtx, DmaFenceNames, UnarmedDmaFence};
/// # use kernel::sync::aref::ARef;
/// # use kernel::time::msecs_to_jiffies;
///
/// # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
/// # let driver = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
/// # let fence: ARef<DmaFence> = ARef::from(&*driver);
/// assert_eq!(fence.wait_timeout(1), Err(WaitError::TimedOut));
///
/// driver.signal(Ok(()));
/// assert!(fence.wait_timeout(msecs_to_jiffies(1000)).is_ok());
/// fence.wait_interruptible()?;
/// # Ok::<(), Error>(())
/// ```
///
/// [`signalling()`]: super::signalling()
impl DmaFence {
    /// Waits until the fence is signaled. The counterpart of `dma_fence_wait()`.
    ///
    /// # Context
    ///
    /// May sleep; see [Waiting](#waiting).
    ///
    /// # Errors
    ///
    /// [`WaitError::Failed`] if the fence's driver says so.
    #[inline]
    pub fn wait(&self) -> Result<(), WaitError> {
        self.wait_raw(false, MAX_SCHEDULE_TIMEOUT).map(|_| ())
    }

    /// Waits until the fence is signaled, or the thread gets a signal. The counterpart of
    /// `dma_fence_wait()`.
    ///
    /// # Context
    ///
    /// May sleep; see [Waiting](#waiting).
    ///
    /// # Errors
    ///
    /// - [`WaitError::Interrupted`] if the thread got a signal.
    /// - [`WaitError::Failed`] if the fence's driver says so.
    #[inline]
    pub fn wait_interruptible(&self) -> Result<(), WaitError> {
        self.wait_raw(true, MAX_SCHEDULE_TIMEOUT).map(|_| ())
    }

    /// Waits until the fence is signaled or the time is over. Wraps `dma_fence_wait_timeout()`.
    ///
    /// Returns the time left, at least one jiffy. With a timeout of zero, only looks whether the
    /// fence is signaled.
    ///
    /// # Context
    ///
    /// May sleep; see [Waiting](#waiting).
    ///
    /// # Errors
    ///
    /// - [`WaitError::TimedOut`] if the time is over.
    /// - [`WaitError::Failed`] if the fence's driver says so.
    #[inline]
    pub fn wait_timeout(&self, timeout: Jiffies) -> Result<Jiffies, WaitError> {
        self.wait_raw(false, timeout_to_c(timeout))
    }

    /// Waits until the fence is signaled, the time is over, or the thread gets a signal. Wraps
    /// `dma_fence_wait_timeout()`.
    ///
    /// Returns the time left, at least one jiffy. With a timeout of zero, only looks whether the
    /// fence is signaled.
    ///
    /// # Context
    ///
    /// May sleep; see [Waiting](#waiting).
    ///
    /// # Errors
    ///
    /// - [`WaitError::TimedOut`] if the time is over.
    /// - [`WaitError::Interrupted`] if the thread got a signal.
    /// - [`WaitError::Failed`] if the fence's driver says so.
    #[inline]
    pub fn wait_interruptible_timeout(&self, timeout: Jiffies) -> Result<Jiffies, WaitError> {
        self.wait_raw(true, timeout_to_c(timeout))
    }

    #[inline]
    fn wait_raw(&self, intr: bool, timeout: c_long) -> Result<Jiffies, WaitError> {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence, and stays so as it is
        // borrowed. If its lock is an external one, its issuer has to keep that for as long as the
        // fence, see `dma_fence_init()`. `timeout` is not negative.
        outcome_from_c(unsafe { bindings::dma_fence_wait_timeout(self.as_raw(), intr, timeout) })
    }
}
