// SPDX-License-Identifier: GPL-2.0
//! A callback can be leaked, so it borrows nothing.

use core::pin::Pin;
use kernel::{dma_fence::DmaFenceCbFunc, error::Result};

pub struct Borrows<'a>(pub &'a u32);

// SAFETY: This does nothing to a fence, and is not leaked.
unsafe impl<'a> DmaFenceCbFunc for Borrows<'a> { //~ E0478
    fn call(self: Pin<&Self>, _: Result) {} } //~ E0803
