// SPDX-License-Identifier: GPL-2.0
//! What a driver keeps with a file is used by several threads at once.

use core::cell::Cell;
use kernel::{drm, prelude::*};

pub struct Unshared(Cell<u32>);

impl drm::file::DriverFile for Unshared { type Driver = mock::Driver; fn open(_: &drm::Device<mock::Driver>) -> Result<Pin<KBox<Self>>> { Err(EINVAL) } } //~ E0277
