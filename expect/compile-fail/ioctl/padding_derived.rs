// SPDX-License-Identifier: GPL-2.0
//! Padding is found where the traits are derived.

use kernel::prelude::*;

#[derive(FromBytes)]
#[derive(IntoBytes)] //~ E0277
#[repr(C)]
pub struct Padded {
    pub flags: u32,
    pub address: u64,
}
