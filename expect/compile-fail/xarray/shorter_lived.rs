// SPDX-License-Identifier: GPL-2.0
//! What is stored in an array lives as long as its type says.

use kernel::{prelude::*, xarray::XArray};

pub fn case(xa: &XArray<KBox<&'static u32>>) -> Result {
    let value = 1;
    let _ = xa.alloc_cyclic(KBox::new(&value, GFP_KERNEL)?, 7..=7, GFP_KERNEL); //~ E0597
    let _ = xa.alloc_cyclic(KBox::new(&1, GFP_KERNEL)?, 7..=7, GFP_KERNEL);
    let _ = value;
    Ok(())
}
