// SPDX-License-Identifier: GPL-2.0

//! Iterating over the fences of a reservation object.

use super::{
    DmaResv,
    Usage, //
};
use crate::{
    bindings,
    dma_fence::DmaFence,
    sync::aref::ARef, //
};
use core::{
    iter::FusedIterator,
    marker::PhantomData, //
};

/// Where a cursor is.
#[derive(Clone, Copy)]
enum Position {
    /// Before the first fence.
    Start,
    /// At a fence.
    Middle,
    /// After the last fence.
    End,
}

/// Returns a cursor in front of the fences of `usage`, and of those before it.
fn begin(resv: &DmaResv, usage: Usage) -> bindings::dma_resv_iter {
    let mut cursor = pin_init::zeroed();

    // SAFETY: `cursor` is valid for writes, and `resv.as_raw()` is valid by the type invariant.
    unsafe { bindings::dma_resv_iter_begin(&mut cursor, resv.as_raw(), usage as u32) };

    cursor
}

/// The fences in a locked [`DmaResv`], each with its [`Usage`].
///
/// Made by [`DmaResvGuard::iter`].
///
/// # Invariants
///
/// - `cursor` is one for an object that the present thread has locked for all of `'a`, and to which
///   no fence is added meanwhile.
/// - `cursor.fence` is null, so that there is nothing to put in the end.
///
/// [`DmaResvGuard::iter`]: super::DmaResvGuard::iter
pub struct DmaResvIter<'a> {
    cursor: bindings::dma_resv_iter,
    position: Position,
    _resv: PhantomData<&'a DmaResv>,
}

impl<'a> DmaResvIter<'a> {
    /// # Safety
    ///
    /// For all of `'a`, the present thread must hold the lock of `resv`, and no fence may be added
    /// to it, or taken from it.
    #[inline]
    pub(super) unsafe fn new(resv: &'a DmaResv, usage: Usage) -> Self {
        // INVARIANT: By the safety requirements. `begin()` leaves `fence` null, and what iterates
        // over a locked object does not touch it.
        Self {
            cursor: begin(resv, usage),
            position: Position::Start,
            _resv: PhantomData,
        }
    }
}

impl<'a> Iterator for DmaResvIter<'a> {
    type Item = (&'a DmaFence, Usage);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let fence = match self.position {
            // SAFETY: By the type invariants, `cursor` is valid and the lock is held.
            Position::Start => unsafe { bindings::dma_resv_iter_first(&mut self.cursor) },
            // SAFETY: As above, and this is not the first call.
            Position::Middle => unsafe { bindings::dma_resv_iter_next(&mut self.cursor) },
            Position::End => return None,
        };

        if fence.is_null() {
            self.position = Position::End;
            return None;
        }

        self.position = Position::Middle;

        // SAFETY: The object has a reference to the fence, and keeps it for all of `'a` by the type
        // invariants.
        let fence = unsafe { DmaFence::from_raw(fence) };

        Some((fence, Usage::from_raw(self.cursor.fence_usage)))
    }
}

impl FusedIterator for DmaResvIter<'_> {}

/// The unsignalled fences in a [`DmaResv`] that is not locked, each with its [`Usage`].
///
/// Made by [`DmaResv::iter_unlocked`].
///
/// # Invariants
///
/// `cursor` is one for an object that lives for all of `'a`, and owns a reference to
/// `cursor.fence` unless that is null.
pub struct DmaResvIterUnlocked<'a> {
    cursor: bindings::dma_resv_iter,
    position: Position,
    _resv: PhantomData<&'a DmaResv>,
}

impl<'a> DmaResvIterUnlocked<'a> {
    #[inline]
    pub(super) fn new(resv: &'a DmaResv, usage: Usage) -> Self {
        // INVARIANT: `resv` is borrowed for `'a`, and `begin()` leaves `fence` null.
        Self {
            cursor: begin(resv, usage),
            position: Position::Start,
            _resv: PhantomData,
        }
    }

    /// Returns whether the iteration began anew with the last fence that it returned, so that those
    /// before it don't count.
    ///
    /// This is so for the first fence, too. C: `dma_resv_iter_is_restarted()`.
    #[inline]
    pub fn is_restarted(&self) -> bool {
        self.cursor.is_restarted
    }

    /// Returns how many fences there were, at most, when the iteration last began.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.cursor.num_fences as usize
    }
}

impl Iterator for DmaResvIterUnlocked<'_> {
    type Item = (ARef<DmaFence>, Usage);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // INVARIANT: Either function puts `cursor.fence` and gets another one, or null.
        let fence = match self.position {
            // SAFETY: By the type invariant, `cursor` is valid.
            Position::Start => unsafe { bindings::dma_resv_iter_first_unlocked(&mut self.cursor) },
            // SAFETY: As above, and this is not the first call.
            Position::Middle => unsafe { bindings::dma_resv_iter_next_unlocked(&mut self.cursor) },
            Position::End => return None,
        };

        // If the list of fences was taken away, C keeps returning the last one. It does not count.
        if fence.is_null() || self.cursor.fences.is_null() {
            self.position = Position::End;
            return None;
        }

        self.position = Position::Middle;

        // SAFETY: By the type invariant, `cursor` has a reference to the fence, for longer than it
        // is borrowed here.
        let fence = unsafe { DmaFence::from_raw(fence) };

        Some((fence.into(), Usage::from_raw(self.cursor.fence_usage)))
    }
}

impl FusedIterator for DmaResvIterUnlocked<'_> {}

impl Drop for DmaResvIterUnlocked<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariant, `cursor` is valid, and it is not used any more.
        unsafe { bindings::dma_resv_iter_end(&mut self.cursor) };
    }
}
