// SPDX-License-Identifier: GPL-2.0
//! A callback is called by any thread, with what its owner has.

use core::{cell::Cell, pin::Pin};
use kernel::{dma_fence::DmaFenceCbFunc, error::Result};

pub struct Count(Cell<u32>);

// SAFETY: This does nothing to a fence, and is not leaked.
unsafe impl DmaFenceCbFunc for Count { fn call(self: Pin<&Self>, _: Result) { self.0.set(self.0.get() + 1) } } //~ E0277
