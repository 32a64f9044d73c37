// SPDX-License-Identifier: GPL-2.0

//! Chains of fences, i.e. timelines that are made of fences of any kind.
//!
//! C header: [`include/linux/dma-fence-chain.h`](srctree/include/linux/dma-fence-chain.h)

use super::DmaFence;
use crate::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings,
    prelude::*,
    sync::aref::ARef, //
};
use core::{
    mem::MaybeUninit,
    ptr::{
        self,
        NonNull, //
    },
};

/// The memory of a link of a chain.
///
/// Allocate it before the point of no return, and [link](Self::link) it after.
///
/// # Context
///
/// Dropping it frees the memory, in any context in which memory may be freed.
#[must_use = "a node has to be linked to be of use"]
pub struct UnarmedChainNode(KBox<MaybeUninit<bindings::dma_fence_chain>>);

// SAFETY: This is memory that nobody else knows, and has nothing in it yet.
unsafe impl Send for UnarmedChainNode {}

// SAFETY: Nothing can be done with a shared reference.
unsafe impl Sync for UnarmedChainNode {}

/// The error of [`UnarmedChainNode::link`]: the fence to be contained is a chain.
///
/// Gives back what was to be linked.
pub struct InvalidChain {
    /// The memory.
    pub node: UnarmedChainNode,
    /// The fence that was to come before.
    pub prev: Option<ARef<DmaFence>>,
    /// The fence that was to be contained.
    pub fence: ARef<DmaFence>,
}

/// [`EINVAL`].
impl From<InvalidChain> for Error {
    #[inline]
    fn from(_: InvalidChain) -> Self {
        EINVAL
    }
}

impl UnarmedChainNode {
    /// Allocates the memory. Wraps `dma_fence_chain_alloc()`.
    ///
    /// # Context
    ///
    /// May sleep where `flags` allow it. Must not be called between the publication and the
    /// signaling of a fence, unless with [`GFP_ATOMIC`] or [`GFP_NOWAIT`].
    ///
    /// # Errors
    ///
    /// [`AllocError`] if there is no memory.
    ///
    /// [`GFP_ATOMIC`]: crate::alloc::flags::GFP_ATOMIC
    /// [`GFP_NOWAIT`]: crate::alloc::flags::GFP_NOWAIT
    #[inline]
    pub fn new(flags: Flags) -> Result<Self, AllocError> {
        Ok(Self(KBox::new_uninit(flags)?))
    }

    /// Gives the memory, which comes from `Kmalloc` and is not initialized, to C.
    #[inline]
    pub(crate) fn into_raw(self) -> *mut bindings::dma_fence_chain {
        KBox::into_raw(self.0).cast()
    }

    /// Makes the memory into a fence that is signaled when `fence` is and, if there is one,
    /// `prev`. Wraps `dma_fence_chain_init()`.
    ///
    /// `prev` is the chain to be continued; it may be any other fence too, with which a chain
    /// begins. If it is a chain and `seqno` is greater than its sequence number, the new link has
    /// its context, and `seqno`. Otherwise it has a new context and, so that it never goes back, a
    /// sequence number that is at least that of a chain before it.
    ///
    /// # Context
    ///
    /// Any.
    ///
    /// # Errors
    ///
    /// [`InvalidChain`], i.e. [`EINVAL`], if `fence` is a chain. Chains are joined through `prev`
    /// only; [`merge`](DmaFence::merge) makes an array of a chain, which can be contained.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::dma_fence::UnarmedChainNode;
    /// # use kernel::dma_fence::{DmaFenceCtx, DmaFenceNames, UnarmedDmaFence};
    /// # use kernel::sync::aref::ARef;
    ///
    /// # let names = DmaFenceNames::new(c"example", c"ring0")?;
    /// # let a = DmaFenceCtx::new(names.clone()).arm_last(UnarmedDmaFence::new(GFP_KERNEL)?);
    /// # let b = DmaFenceCtx::new(names).arm_last(UnarmedDmaFence::new(GFP_KERNEL)?);
    /// let one = UnarmedChainNode::new(GFP_KERNEL)?.link(None, ARef::from(&*a), 1)?;
    /// let two = UnarmedChainNode::new(GFP_KERNEL)?.link(Some(one), ARef::from(&*b), 2)?;
    ///
    /// b.signal(Ok(()));
    /// assert!(!two.is_signaled());
    ///
    /// a.signal(Ok(()));
    /// assert!(two.is_signaled());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn link(
        self,
        prev: Option<ARef<DmaFence>>,
        fence: ARef<DmaFence>,
        seqno: u64,
    ) -> Result<ARef<DmaFence>, InvalidChain> {
        if fence.is_chain() {
            return Err(InvalidChain {
                node: self,
                prev,
                fence,
            });
        }

        let chain = self.into_raw();
        let prev = prev.map_or(ptr::null_mut(), |prev| ARef::into_raw(prev).as_ptr().cast());

        // SAFETY:
        // - `chain` is a live allocation from `Kmalloc` that is ours, so that C can free it.
        // - C takes over the references to `prev`, if that isn't null, and to `fence`, which is no
        //   chain.
        unsafe {
            bindings::dma_fence_chain_init(
                chain,
                prev,
                ARef::into_raw(fence).as_ptr().cast(),
                seqno,
            )
        };

        // CAST: `struct dma_fence_chain` starts with its fence, of which `DmaFence` is a
        // transparent wrapper.
        // SAFETY: The `ARef` takes over the initial reference. `chain` comes from a `KBox`, so it
        // is not null.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(chain).cast()) })
    }
}

/// # Chains
///
/// A chain is a fence that is signaled once a fence and those before it are. It is made of links,
/// each of which is a chain and contains a fence.
impl DmaFence {
    /// Returns whether the fence is a chain. Wraps `dma_fence_is_chain()`.
    ///
    /// # Context
    ///
    /// Any.
    #[inline]
    pub fn is_chain(&self) -> bool {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid fence.
        unsafe { bindings::dma_fence_is_chain(self.as_raw()) }
    }
}
