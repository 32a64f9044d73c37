// SPDX-License-Identifier: GPL-2.0

//! Fences that are signalled from the start.

use super::DmaFence;
use crate::{
    alloc::AllocError,
    bindings,
    sync::aref::ARef,
    time::{
        Instant,
        Monotonic, //
    },
};
use core::ptr::NonNull;

/// # Stubs
///
/// Where a fence is due, but there is nothing to wait for.
impl DmaFence {
    /// Returns a fence that has been signalled since the kernel was booted, the same each time.
    ///
    /// May be called in any context. C: `dma_fence_get_stub()`.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::dma_fence::DmaFence;
    ///
    /// assert!(DmaFence::stub().is_signaled());
    /// ```
    #[inline]
    pub fn stub() -> ARef<Self> {
        // SAFETY: C initialises the stub before any module. It returns a reference to it, which the
        // `ARef` takes over, and never null.
        unsafe { ARef::from_raw(NonNull::new_unchecked(bindings::dma_fence_get_stub()).cast()) }
    }

    /// Returns a new fence that was signalled at `timestamp`.
    ///
    /// May sleep, and must not be called between the publication and the signalling of a fence. C:
    /// `dma_fence_allocate_private_stub()`.
    ///
    /// # Errors
    ///
    /// [`AllocError`] if there is no memory.
    #[inline]
    pub fn private_stub(timestamp: Instant<Monotonic>) -> Result<ARef<Self>, AllocError> {
        // SAFETY: `dma_fence_allocate_private_stub()` takes any time.
        let fence = unsafe { bindings::dma_fence_allocate_private_stub(timestamp.as_nanos()) };

        // CAST: `DmaFence` is a transparent wrapper of `struct dma_fence`.
        let fence = NonNull::new(fence).ok_or(AllocError)?.cast();

        // SAFETY: `fence` is initialised, and the `ARef` takes over its initial reference.
        Ok(unsafe { ARef::from_raw(fence) })
    }
}
