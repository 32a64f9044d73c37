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

/// Why a wait ended without the fence being signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// The time is over. The fence may have been signalled at the very end of it.
    TimedOut,
    /// A signal is pending for the thread, which waited interruptibly.
    Interrupted,
    /// The fence's driver waits in its own way and reports this, e.g. [`EDEADLK`] as the hardware
    /// hangs; C asks to go on as if the fence were signalled. Or the wait could not be begun.
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

/// The outcome of a wait for any of several fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnySignaled {
    /// The index of a fence that is signalled.
    pub index: usize,
    /// The time that was left, at least one jiffy.
    pub left: Jiffies,
}

/// Makes a timeout into what C takes for one.
#[inline]
pub(crate) fn timeout_to_c(timeout: Jiffies) -> c_long {
    timeout.try_into().unwrap_or(MAX_SCHEDULE_TIMEOUT)
}

/// Makes sense of what C's functions return.
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
/// All of these may sleep, even if the timeout is zero. Don't call them from where a fence has to
/// be signalled, nor with a lock held that is taken there. Lockdep finds the latter, but for waits
/// for any of several fences, of which C does not tell it; see [`signalling()`].
///
/// Timeouts are in jiffies. [`Jiffies::MAX`], as every value that does not fit a `long`, means to
/// wait without a limit.
///
/// That a wait succeeds says that the fence is signalled, not how its work has ended; for that, see
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
    /// Waits until the fence is signalled.
    ///
    /// May sleep; see [Waiting](#waiting). C: `dma_fence_wait()`.
    ///
    /// # Errors
    ///
    /// [`WaitError::Failed`] if the fence's driver says so.
    #[inline]
    pub fn wait(&self) -> Result<(), WaitError> {
        self.wait_raw(false, MAX_SCHEDULE_TIMEOUT).map(|_| ())
    }

    /// Waits until the fence is signalled, or the thread gets a signal.
    ///
    /// May sleep; see [Waiting](#waiting). C: `dma_fence_wait()`.
    ///
    /// # Errors
    ///
    /// - [`WaitError::Interrupted`] if the thread got a signal.
    /// - [`WaitError::Failed`] if the fence's driver says so.
    #[inline]
    pub fn wait_interruptible(&self) -> Result<(), WaitError> {
        self.wait_raw(true, MAX_SCHEDULE_TIMEOUT).map(|_| ())
    }

    /// Waits until the fence is signalled or the time is over.
    ///
    /// Returns the time left, at least one jiffy. With a timeout of zero, only looks whether the
    /// fence is signalled.
    ///
    /// May sleep; see [Waiting](#waiting). C: `dma_fence_wait_timeout()`.
    ///
    /// # Errors
    ///
    /// - [`WaitError::TimedOut`] if the time is over.
    /// - [`WaitError::Failed`] if the fence's driver says so.
    #[inline]
    pub fn wait_timeout(&self, timeout: Jiffies) -> Result<Jiffies, WaitError> {
        self.wait_raw(false, timeout_to_c(timeout))
    }

    /// Waits until the fence is signalled, the time is over, or the thread gets a signal.
    ///
    /// Returns the time left, at least one jiffy. With a timeout of zero, only looks whether the
    /// fence is signalled.
    ///
    /// May sleep; see [Waiting](#waiting). C: `dma_fence_wait_timeout()`.
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
        // borrowed. `timeout` is not negative.
        outcome_from_c(unsafe { bindings::dma_fence_wait_timeout(self.as_raw(), intr, timeout) })
    }

    /// Waits until any of `fences` is signalled or the time is over.
    ///
    /// With a timeout of zero, only looks whether one is signalled. Otherwise this allocates
    /// memory, which may in turn wait for other fences.
    ///
    /// May sleep; see [Waiting](#waiting). C: `dma_fence_wait_any_timeout()`.
    ///
    /// # Errors
    ///
    /// - [`WaitError::TimedOut`] if the time is over.
    /// - [`WaitError::Failed`] with [`EINVAL`] if there are no fences or more than
    ///   [`MAX_FENCES`](Self::MAX_FENCES), with [`ENOMEM`] if there is no memory.
    #[inline]
    pub fn wait_any_timeout(
        fences: &[&DmaFence],
        timeout: Jiffies,
    ) -> Result<AnySignaled, WaitError> {
        Self::wait_any_raw(fences, false, timeout)
    }

    /// Waits until any of `fences` is signalled, the time is over, or the thread gets a signal.
    ///
    /// Like [`wait_any_timeout`](Self::wait_any_timeout) otherwise.
    ///
    /// # Errors
    ///
    /// Those of [`wait_any_timeout`](Self::wait_any_timeout), and [`WaitError::Interrupted`] if the
    /// thread got a signal.
    #[inline]
    pub fn wait_any_interruptible_timeout(
        fences: &[&DmaFence],
        timeout: Jiffies,
    ) -> Result<AnySignaled, WaitError> {
        Self::wait_any_raw(fences, true, timeout)
    }

    fn wait_any_raw(
        fences: &[&DmaFence],
        intr: bool,
        timeout: Jiffies,
    ) -> Result<AnySignaled, WaitError> {
        // C counts them with an `int`.
        let count = match i32::try_from(fences.len()) {
            Ok(count) if count > 0 && fences.len() <= Self::MAX_FENCES => count,
            _ => return Err(WaitError::Failed(EINVAL)),
        };
        let mut index = 0;

        // CAST: A `&DmaFence` is a pointer to a `struct dma_fence`, of which `DmaFence` is a
        // transparent wrapper. `count` is positive.
        // SAFETY:
        // - `fences` has `count` valid fences, which stay so as they are borrowed. C only reads
        //   the array.
        // - `timeout` is not negative.
        let left = outcome_from_c(unsafe {
            bindings::dma_fence_wait_any_timeout(
                fences.as_ptr().cast_mut().cast(),
                count as u32,
                intr,
                timeout_to_c(timeout),
                &mut index,
            )
        })?;

        Ok(AnySignaled {
            // CAST: C has set it to an index into `fences`.
            index: index as usize,
            left,
        })
    }
}
