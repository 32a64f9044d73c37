// SPDX-License-Identifier: GPL-2.0

//! Fences that are made of several others.
//!
//! C header: [`include/linux/dma-fence-array.h`](srctree/include/linux/dma-fence-array.h)

use super::DmaFence;
use crate::{
    bindings,
    ffi::c_int,
    prelude::*,
    sync::aref::ARef, //
};
use core::ptr::NonNull;

/// # Arrays
///
/// An array is a fence that is signaled once several others are. See [`merge`](Self::merge) for
/// how to make one of fences that may be arrays and chains themselves.
impl DmaFence {
    /// Creates a fence that is signaled when all of `fences` are. Wraps `dma_fence_array_create()`.
    ///
    /// It has a new context, and keeps `fences` for as long as it lives. If it was waited for, or
    /// had a callback, before they were signaled, it ends with the first of their errors;
    /// otherwise, it may have none.
    ///
    /// # Context
    ///
    /// May sleep, and must not be called between the publication and the signaling of a fence.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if there are no fences or more than [`MAX_FENCES`](Self::MAX_FENCES), or if one
    ///   of them is an array or a chain, as containers must not be nested.
    /// - [`ENOMEM`] if there is no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::dma_fence::DmaFence;
    /// # use kernel::dma_fence::{DmaFenceCtx, DmaFenceNames, UnarmedDmaFence};
    ///
    /// # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
    /// # let a = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
    /// # let b = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
    /// let both = DmaFence::new_array(&[&a, &b])?;
    ///
    /// a.signal(Ok(()));
    /// assert!(!both.is_signaled());
    ///
    /// b.signal(Ok(()));
    /// assert!(both.wait_timeout(100).is_ok());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn new_array(fences: &[&DmaFence]) -> Result<ARef<Self>> {
        let count = c_int::try_from(fences.len()).map_err(|_| EINVAL)?;
        if count == 0
            || fences.len() > Self::MAX_FENCES
            || fences.iter().any(|fence| fence.is_container())
        {
            return Err(EINVAL);
        }

        let mut raw = KVec::with_capacity(fences.len(), GFP_KERNEL | __GFP_NOWARN)?;
        for fence in fences {
            raw.push(ARef::<DmaFence>::from(*fence), GFP_KERNEL)?;
        }
        let (ptr, len, capacity) = raw.into_raw_parts();

        static_assert!(size_of::<ARef<DmaFence>>() == size_of::<*mut bindings::dma_fence>());

        // CAST: An `ARef` has a pointer in it, and the size of one, so it is nothing else.
        // `DmaFence` is a transparent wrapper of `struct dma_fence`.
        // SAFETY:
        // - `ptr` is an array of `count` fences, more than none, with a reference to each and none
        //   of them a container.
        // - `KVec` has allocated it from `Kmalloc`, so that C can `kfree()` it.
        // - The context is new, so that any sequence number goes.
        let array = unsafe {
            bindings::dma_fence_array_create(
                count,
                ptr.cast(),
                bindings::dma_fence_context_alloc(1),
                1,
            )
        };

        let Some(array) = NonNull::new(array) else {
            // C has not taken over anything.
            //
            // SAFETY: The parts are those of `raw`.
            drop(unsafe { KVec::from_raw_parts(ptr, len, capacity) });
            return Err(ENOMEM);
        };

        // CAST: `struct dma_fence_array` starts with its fence, of which `DmaFence` is a
        // transparent wrapper.
        // SAFETY: The `ARef` takes over the initial reference.
        Ok(unsafe { ARef::from_raw(array.cast()) })
    }
}
