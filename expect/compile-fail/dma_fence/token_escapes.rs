// SPDX-License-Identifier: GPL-2.0
//! The token of `signalling()` is of no use after its scope.

use kernel::dma_fence::{signalling, Signalling};

fn needs(_: &Signalling) {}

pub fn case() {
    let mut kept: Option<&Signalling> = None;
    signalling(|token| {
        needs(token);
        kept = Some(token); //~ E0521
    });
    kept.map(needs);
}
