// SPDX-License-Identifier: GPL-2.0
//! A handler is a path: an expression could be one thing for the compiler's check that it is for the
//! driver, and another one, by inference, for the call.

use kernel::prelude::*;

module! {
    type: Case,
    name: "case",
    license: "GPL",
}

pub struct Case;

impl kernel::Module for Case {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

impl Case {
    kernel::declare_drm_ioctls! { (VGEM_FENCE_SIGNAL, drm_vgem_fence_signal, RENDER_ALLOW, pick(0)) } //~ error: expected type
}
