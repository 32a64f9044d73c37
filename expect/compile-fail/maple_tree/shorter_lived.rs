// SPDX-License-Identifier: GPL-2.0
//! What is stored in a maple tree lives as long as its type says.

use kernel::{maple_tree::MapleTree, prelude::*};

pub fn case(tree: &MapleTree<KBox<&'static u32>>) -> Result {
    let value = 1;
    let _ = tree.insert(7, KBox::new(&value, GFP_KERNEL)?, GFP_KERNEL); //~ E0597
    let _ = tree.insert(8, KBox::new(&1, GFP_KERNEL)?, GFP_KERNEL);
    let _ = value;
    Ok(())
}
