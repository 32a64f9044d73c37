// SPDX-License-Identifier: GPL-2.0
//! A tag set is not one of a supertype, whose `Operations` may have other queue data.

use core::marker::PhantomData;
use kernel::{
    block::mq::{gen_disk::GenDisk, Operations, Request, TagSet},
    prelude::*,
    sync::{aref::ARef, Arc},
};

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

pub struct Ops<F>(PhantomData<F>);

#[vtable]
impl<F: 'static> Operations for Ops<F> {
    type QueueData = ();

    fn queue_rq(_: (), _: ARef<Request<Self>>, _: bool) -> Result {
        Ok(())
    }

    fn commit_rqs(_: ()) {}

    fn complete(_: ARef<Request<Self>>) {}
}

pub type Sub = Ops<for<'a> fn(&'a u8)>;
pub type Super = Ops<fn(&'static u8)>;

// It would be one otherwise.
pub fn of_function(f: &PhantomData<for<'a> fn(&'a u8)>) {
    let _: &PhantomData<fn(&'static u8)> = f;
}

pub fn of_tag_set(tag_set: Arc<TagSet<Sub>>) {
    let _: Arc<TagSet<Super>> = tag_set; //~ E0308
}

pub fn of_disk(disk: GenDisk<Sub>) {
    let _: GenDisk<Super> = disk; //~ E0308
}
