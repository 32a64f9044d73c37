// SPDX-License-Identifier: GPL-2.0

//! Iterating over the fences of a reservation object.

use super::{
    DmaResv,
    Usage, //
};
use crate::{
    bindings,
    dma_fence::DmaFence, //
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
        let mut cursor = pin_init::zeroed();

        // SAFETY: `cursor` is valid for writes, and `resv.as_raw()` is valid by the type invariant.
        unsafe { bindings::dma_resv_iter_begin(&mut cursor, resv.as_raw(), usage as u32) };

        // INVARIANT: By the safety requirements. `dma_resv_iter_begin()` leaves `fence` null, and
        // what iterates over a locked object does not touch it.
        Self {
            cursor,
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
