// SPDX-License-Identifier: GPL-2.0

//! Waiting for the fences of a reservation object.

use super::{
    DmaResv,
    Usage, //
};
use crate::{
    bindings,
    dma_fence::{
        wait::{
            outcome_from_c,
            timeout_to_c, //
        },
        WaitError, //
    },
    ffi::c_ulong,
    prelude::*,
    time::Jiffies, //
};

/// # Waiting
///
/// All of these wait for the fences of `usage` and of those before it. Fences that are added
/// meanwhile may be waited for or not; with the lock held there are none.
///
/// All of these may sleep, even if the timeout is zero. Don't call them in code
/// that a fence needs to be signaled, nor with a lock held that such code takes; the lock of a
/// reservation object may be held. Lockdep reports the latter if there is a fence to wait for.
///
/// Timeouts are in jiffies, and for all fences together. [`Jiffies::MAX`], as every value that does
/// not fit a `long`, means to wait without a limit.
///
/// # Examples
///
/// ```
/// use kernel::dma_fence::WaitError;
/// use kernel::dma_resv::{
///     DmaResv,
///     Usage, //
/// };
/// # use kernel::dma_fence::{DmaFenceCtx, DmaFenceNames, UnarmedDmaFence};
/// # use kernel::time::msecs_to_jiffies;
///
/// # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
/// # let fence = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
/// let resv = KBox::pin_init(DmaResv::new(), GFP_KERNEL)?;
/// resv.lock().reserve_one()?.add(&fence, Usage::Write);
///
/// assert_eq!(resv.wait_timeout(Usage::Write, 1), Err(WaitError::TimedOut));
/// assert_eq!(resv.wait_timeout(Usage::Kernel, 0), Ok(1));
///
/// fence.signal(Ok(()));
/// assert!(resv.wait_timeout(Usage::Write, msecs_to_jiffies(1000)).is_ok());
/// resv.wait_interruptible(Usage::Write)?;
/// # Ok::<(), Error>(())
/// ```
impl DmaResv {
    /// Waits until all fences are signaled. Wraps `dma_resv_wait_timeout()`.
    ///
    /// # Context
    ///
    /// May sleep; see [Waiting](#waiting).
    ///
    /// # Errors
    ///
    /// [`WaitError::Failed`] if the driver of a fence says so.
    #[inline]
    pub fn wait(&self, usage: Usage) -> Result<(), WaitError> {
        self.wait_raw(usage, false, Jiffies::MAX).map(|_| ())
    }

    /// Waits until all fences are signaled, or the thread gets a signal. Wraps
    /// `dma_resv_wait_timeout()`.
    ///
    /// # Context
    ///
    /// May sleep; see [Waiting](#waiting).
    ///
    /// # Errors
    ///
    /// - [`WaitError::Interrupted`] if the thread got a signal.
    /// - [`WaitError::Failed`] if the driver of a fence says so.
    #[inline]
    pub fn wait_interruptible(&self, usage: Usage) -> Result<(), WaitError> {
        self.wait_raw(usage, true, Jiffies::MAX).map(|_| ())
    }

    /// Waits until all fences are signaled, or the time is over. Wraps `dma_resv_wait_timeout()`.
    ///
    /// Returns the time left, at least one jiffy. With a timeout of zero, only looks whether they
    /// are signaled, and returns 1 if so.
    ///
    /// # Context
    ///
    /// May sleep; see [Waiting](#waiting).
    ///
    /// # Errors
    ///
    /// - [`WaitError::TimedOut`] if the time is over.
    /// - [`WaitError::Failed`] if the driver of a fence says so.
    #[inline]
    pub fn wait_timeout(&self, usage: Usage, timeout: Jiffies) -> Result<Jiffies, WaitError> {
        self.wait_raw(usage, false, timeout)
    }

    /// Waits until all fences are signaled, the time is over, or the thread gets a signal. Wraps
    /// `dma_resv_wait_timeout()`.
    ///
    /// Returns the time left, as [`wait_timeout`](Self::wait_timeout) does.
    ///
    /// # Context
    ///
    /// May sleep; see [Waiting](#waiting).
    ///
    /// # Errors
    ///
    /// - [`WaitError::TimedOut`] if the time is over.
    /// - [`WaitError::Interrupted`] if the thread got a signal.
    /// - [`WaitError::Failed`] if the driver of a fence says so.
    #[inline]
    pub fn wait_interruptible_timeout(
        &self,
        usage: Usage,
        timeout: Jiffies,
    ) -> Result<Jiffies, WaitError> {
        self.wait_raw(usage, true, timeout)
    }

    fn wait_raw(&self, usage: Usage, intr: bool, timeout: Jiffies) -> Result<Jiffies, WaitError> {
        // CAST: `timeout_to_c()` returns what is not negative.
        let timeout = timeout_to_c(timeout) as c_ulong;

        // SAFETY: By the type invariant, `self.as_raw()` is valid.
        outcome_from_c(unsafe {
            bindings::dma_resv_wait_timeout(self.as_raw(), usage as u32, intr, timeout)
        })
    }
}
