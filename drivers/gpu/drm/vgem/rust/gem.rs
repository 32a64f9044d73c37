// SPDX-License-Identifier: GPL-2.0

use kernel::drm::gem;
use kernel::prelude::*;

use crate::VgemDevice;
use crate::VgemDriver;

pub(crate) type VgemBuffer = gem::shmem::Object<VgemObject>;

pub(crate) struct VgemObject;

#[vtable]
impl gem::DriverObject for VgemObject {
    type Driver = VgemDriver;
    type Args = ();

    // No ioctls begin and end an access by the CPU, so sharing needs coherent memory.
    const MAP_WC: bool = true;

    fn new(_dev: &VgemDevice, _size: usize, _args: ()) -> impl PinInit<Self, Error> {
        Ok(Self)
    }

    fn create_object(_dev: &VgemDevice, _size: usize) -> impl PinInit<Self, Error> {
        Ok(Self)
    }
}
