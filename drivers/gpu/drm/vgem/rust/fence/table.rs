// SPDX-License-Identifier: GPL-2.0

//! How a client's fences are stored: by ID, and in the order of age.

use core::cell::Cell;
use kernel::dma_fence::*;
use kernel::prelude::*;
use kernel::rbtree::*;
use kernel::time::*;

/// The bits of an ID. All IDs but 0 are used in turn, so that a stale one is not soon reused.
pub(super) const ID_MASK: u64 = i32::MAX as u64;

/// A power of two, as 32-bit machines can't divide a `u64`. A block is allocated with a node.
pub(super) const BLOCK: u64 = 8;

/// A fence, and when its time is up.
type Fence = DriverDmaFence<Cell<Option<Instant<Monotonic>>>>;
pub(super) type Unarmed = UnarmedDmaFence<Cell<Option<Instant<Monotonic>>>>;

/// Fences with numbers in a row, which share a node. [`Some(None)`](Some) is one that has expired.
type Block = [Option<Option<Fence>>; BLOCK as usize];
pub(super) type SpareBlock = RBTreeNodeReservation<u64, Block>;

/// Fences by a number that is never reused, and whose low bits are the ID.
#[derive(Default)]
pub(super) struct Table {
    pub(super) blocks: RBTree<u64, Block>,
    pub(super) spare: Option<SpareBlock>,
    /// The last number that was given out.
    pub(super) newest: u64,
    /// Blocks before this one have no pending fence.
    oldest: u64,
}

impl Table {
    /// Returns a new ID and where its fence goes, or [`None`] if that needs a `spare` block.
    pub(super) fn vacancy(&mut self) -> Option<(u32, &mut Option<Option<Fence>>)> {
        // 0 is no ID.
        let number = self.newest + 1 + u64::from(self.newest & ID_MASK == ID_MASK);
        let block = match self.blocks.entry(number / BLOCK) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => insert(entry, self.spare.take()?),
        };
        self.newest = number;
        let slot = &mut block[(number % BLOCK) as usize];
        // CAST: The mask has 31 bits.
        Some(((number & ID_MASK) as u32, slot))
    }

    /// Removes an ID, and returns its fence, or [`Some(None)`](Some) if that has expired.
    pub(super) fn remove(&mut self, id: u32) -> Option<Option<Fence>> {
        // Of two fences with this ID, the older one has expired long ago, and is ignored.
        let age = self.newest.wrapping_sub(id.into()) & ID_MASK;
        let number = self.newest.checked_sub(age)?;
        (number & ID_MASK == id.into()).then_some(())?;
        let mut entry = self.blocks.find_mut(&(number / BLOCK))?;
        let block = entry.get_mut();
        let fence = block[(number % BLOCK) as usize].take()?;
        // New fences go to the newest block, so it stays.
        if number / BLOCK != (self.newest + 1) / BLOCK && block.iter().all(Option::is_none) {
            entry.remove_node();
        }
        Some(fence)
    }

    /// Takes the oldest fence if its time is up. Its ID stays, so that `SIGNAL` can report it.
    ///
    /// Otherwise, returns how long the fence has left, or [`None`] if none is pending.
    pub(super) fn expire(&mut self, now: Instant<Monotonic>) -> Result<Fence, Option<Delta>> {
        let mut cursor = self.blocks.cursor_lower_bound_mut(&self.oldest);
        // No more than two blocks have no pending fence: the oldest, and the newest.
        while let Some(mut at) = cursor {
            let (&number, block) = at.current_mut();
            self.oldest = number;
            if let Some(slot) = block.iter_mut().flatten().find(|slot| slot.is_some()) {
                let deadline = slot.as_ref().and_then(|fence| fence.data().get());
                let left = deadline.map(|deadline| deadline - now);
                return slot.take_if(|_| left <= Some(Delta::ZERO)).ok_or(left);
            }
            cursor = at.move_next();
        }
        Err(None)
    }

    /// Takes all pending fences.
    pub(super) fn fences(&mut self) -> impl Iterator<Item = Fence> + '_ {
        let slots = self.blocks.values_mut().flatten().flatten();
        slots.filter_map(Option::take)
    }
}

/// Inserts an empty block. It is not inlined, as a block would take much of the caller's stack.
#[inline(never)]
fn insert(entry: VacantEntry<'_, u64, Block>, spare: SpareBlock) -> &mut Block {
    entry.insert(Block::default(), spare)
}
