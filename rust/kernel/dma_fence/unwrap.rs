// SPDX-License-Identifier: GPL-2.0

//! Taking arrays and chains apart, and making flat arrays of them.
//!
//! C header: [`include/linux/dma-fence-unwrap.h`](srctree/include/linux/dma-fence-unwrap.h)

use super::DmaFence;
use crate::{
    bindings,
    prelude::*,
    sync::aref::ARef, //
};
use core::{
    iter::FusedIterator,
    mem::MaybeUninit,
    ptr::{
        self,
        NonNull, //
    },
};

/// The fences in a fence; see [`DmaFence::unwrap_iter`].
///
/// # Context
///
/// Dropping it may put the last reference to a chain; see [`DmaFence`].
///
/// # Invariants
///
/// If `cursor.chain` is not null, it is a reference that this owns, and the cursor is as
/// `dma_fence_unwrap_first()` or `dma_fence_unwrap_next()` left it.
pub struct Unwrap {
    cursor: bindings::dma_fence_unwrap,
    first: Option<ARef<DmaFence>>,
}

impl Iterator for Unwrap {
    type Item = ARef<DmaFence>;

    fn next(&mut self) -> Option<ARef<DmaFence>> {
        let fence = match self.first.take() {
            // INVARIANT: C takes its own reference to `head`, and leaves it in the cursor.
            // SAFETY: `head` is a valid fence.
            Some(head) => unsafe {
                bindings::dma_fence_unwrap_first(head.as_raw(), &mut self.cursor)
            },
            None if self.cursor.chain.is_null() => return None,
            // INVARIANT: C puts the reference when it goes on to another link of the chain, for
            // which it leaves a reference in the cursor; at the end, that is null.
            // SAFETY: By the type invariants, the cursor is what C has left.
            None => unsafe { bindings::dma_fence_unwrap_next(&mut self.cursor) },
        };

        if fence.is_null() {
            self.put();
            return None;
        }

        // SAFETY: The fence is, or is contained in, the one in the cursor, to which there is a
        // reference for as long as it takes to get one to `fence`.
        Some(unsafe { DmaFence::from_raw(fence) }.into())
    }
}

impl FusedIterator for Unwrap {}

impl Unwrap {
    /// Puts the reference in the cursor, if any.
    #[inline]
    fn put(&mut self) {
        let chain = self.cursor.chain;
        self.cursor.chain = ptr::null_mut();

        // SAFETY: By the type invariants, the reference is ours, unless `chain` is null, which C
        // puts up with.
        unsafe { bindings::dma_fence_put(chain) };
    }
}

impl Drop for Unwrap {
    #[inline]
    fn drop(&mut self) {
        self.put();
    }
}

/// # Taking apart and merging
impl DmaFence {
    /// Returns the fences that this one is made of: those in an array, in a chain, and in the
    /// arrays of a chain, or the fence itself. Wraps `dma_fence_unwrap_for_each()`.
    ///
    /// Links of a chain whose fences are signaled are dropped from it on the way, other than the
    /// last.
    ///
    /// # Context
    ///
    /// Any, also for the use of the result, but not a callback of a fence, nor with a lock held
    /// that a callback of one of these fences takes: it queries them, which may signal them.
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
    /// assert_eq!(a.unwrap_iter().count(), 1);
    /// assert_eq!(DmaFence::new_array(&[&a, &b])?.unwrap_iter().count(), 2);
    /// # a.signal(Ok(()));
    /// # b.signal(Ok(()));
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn unwrap_iter(&self) -> Unwrap {
        // INVARIANT: `cursor.chain` is null.
        Unwrap {
            cursor: bindings::dma_fence_unwrap {
                chain: ptr::null_mut(),
                array: ptr::null_mut(),
                index: 0,
            },
            first: Some(self.into()),
        }
    }

    /// Returns a fence that is signaled when all of `fences` are, whatever they are made of. Wraps
    /// `dma_fence_unwrap_merge()`.
    ///
    /// That is a new array of what [`unwrap_iter`](Self::unwrap_iter) finds in them and is not
    /// signaled, and only the latest of each context; if that is one fence, that fence; if it is
    /// none, a fence that was signaled with the last of them.
    ///
    /// # Context
    ///
    /// Process context; may sleep, as it allocates. Must not be called between the publication and
    /// the signaling of a fence, nor with a lock held that a callback of one of these fences takes:
    /// it queries them, which may signal them.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if more than [`MAX_FENCES`](Self::MAX_FENCES) are passed or found in them, or
    ///   if two different unsignaled ones have context 0, of which C would keep one.
    /// - [`ENOMEM`] if there is no memory.
    pub fn merge(fences: &[&DmaFence]) -> Result<ARef<Self>> {
        if fences.len() > Self::MAX_FENCES {
            return Err(EINVAL);
        }

        // An array never changes, and a chain only loses links, so C finds no more than this.
        let mut found = 0;
        let mut unordered: Option<ARef<Self>> = None;
        for fence in fences.iter().flat_map(|fence| fence.unwrap_iter()) {
            found += 1;
            if found > Self::MAX_FENCES {
                return Err(EINVAL);
            }
            if fence.context() == 0 && !fence.is_signaled() {
                if unordered.is_some_and(|first| !ptr::eq(&*first, &*fence)) {
                    return Err(EINVAL);
                }
                unordered = Some(fence);
            }
        }

        let mut cursors = KVec::<MaybeUninit<bindings::dma_fence_unwrap>>::with_capacity(
            fences.len(),
            GFP_KERNEL | __GFP_NOWARN,
        )?;

        // CAST: A `&DmaFence` is a pointer to a `struct dma_fence`, of which `DmaFence` is a
        // transparent wrapper.
        // SAFETY: Both arrays have a member for each of `fences`, which are valid. C only reads the
        // first, and initializes the members of the second before it reads them.
        let merged = unsafe {
            bindings::__dma_fence_unwrap_merge(
                fences.len(),
                fences.as_ptr().cast_mut().cast(),
                cursors.as_mut_ptr().cast(),
            )
        };

        // CAST: `DmaFence` is a transparent wrapper of `struct dma_fence`.
        let merged = NonNull::new(merged).ok_or(ENOMEM)?.cast();

        // SAFETY: C returns a reference, which the `ARef` takes over.
        Ok(unsafe { ARef::from_raw(merged) })
    }
}
