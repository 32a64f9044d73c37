// SPDX-License-Identifier: GPL-2.0

//! Virtual GEM provider.
//!
//! A DRM device without hardware: user space makes buffers, maps and shares them, and attaches
//! fences to them, which it signals itself. It is there for software renderers, and for testing how
//! drivers share buffers.
//!
//! UAPI header: [`include/uapi/drm/vgem_drm.h`](srctree/include/uapi/drm/vgem_drm.h)

use kernel::prelude::*;

mod driver;
mod fence;
mod file;
mod gem;

module! {
    type: driver::VgemModule,
    name: "vgem",
    authors: ["The rustgem project"],
    description: "Virtual GEM provider",
    license: "GPL v2",
}
