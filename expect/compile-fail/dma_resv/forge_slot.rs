// SPDX-License-Identifier: GPL-2.0
//! Rule 1, reserve first: nobody else makes a slot.

use kernel::{dma_resv::{DmaResv, DmaResvSlot}, types::NotThreadSafe};

pub fn case(resv: &DmaResv) {
    let _guard = resv.lock();
    let _slot = DmaResvSlot { resv, _not_send: NotThreadSafe }; //~ E0451
    let _ = NotThreadSafe;
    let _: Option<DmaResvSlot<'_>> = None;
}
