// SPDX-License-Identifier: GPL-2.0

use kernel::{
    drm::{
        self,
        gem, //
    },
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    driver::{
        VgemDevice,
        VgemDriver, //
    },
    file::File, //
};

/// The driver's part of a buffer: nothing.
pub(crate) struct VgemObject;

impl VgemObject {
    /// Looks up a buffer by its handle.
    pub(crate) fn lookup_handle(
        file: &drm::File<File>,
        handle: u32,
    ) -> Result<ARef<gem::shmem::Object<Self>>> {
        gem::BaseObject::lookup_handle(file, handle)
    }
}

#[vtable]
impl gem::DriverObject for VgemObject {
    type Driver = VgemDriver;
    type Args = ();

    // There are no ioctls to begin and end an access by the CPU, so memory has to be coherent for
    // sharing to work.
    const MAP_WC: bool = true;

    fn new(_dev: &VgemDevice, _size: usize, _args: ()) -> impl PinInit<Self, Error> {
        Ok(Self)
    }

    fn create_object(_dev: &VgemDevice, _size: usize) -> impl PinInit<Self, Error> {
        Ok(Self)
    }
}
