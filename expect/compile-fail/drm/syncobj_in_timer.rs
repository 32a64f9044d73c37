// SPDX-License-Identifier: GPL-2.0
//! C takes a sync object's lock with interrupts on, so timers and other threads can't have one.

use kernel::{drm::SyncObj, sync::aref::ARef};

fn send<T: Send>(_: T) {}
fn share<T: Sync>(_: &T) {}

pub fn case(syncobj: ARef<SyncObj>) {
    share(&syncobj); //~ E0277
    send(syncobj); //~ E0277
    send(());
    share(&());
}
