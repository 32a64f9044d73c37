// SPDX-License-Identifier: GPL-2.0

//! What a random sequence is made of.
//!
//! An [`Op`] names things by small numbers, which the model takes modulo what there is, so that
//! an operation still means something after others were removed from before it.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::model::ROOM;

/// The Nth of what there is, or of those of them that are good for the operation.
pub type Nth = u8;

/// Some of the pages that there are: where they begin and how many. 0 is all of them.
pub type Part = u16;

/// This one is of all that there are, also for what can't be done to it.
pub const OF_ALL: Nth = 7;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    Open {
        render: bool,
    },
    Dup {
        file: Nth,
    },
    Close {
        file: Nth,
    },
    Create {
        file: Nth,
        shape: Shape,
    },
    GemClose {
        file: Nth,
        handle: Handle,
        dumb: bool,
    },
    Offset {
        file: Nth,
        handle: Handle,
    },
    MapFile {
        file: Nth,
        object: Nth,
        how: Map,
        #[serde(default)]
        part: Part,
    },
    MapBuf {
        buf: Nth,
        how: Map,
        #[serde(default)]
        part: Part,
    },
    Unmap {
        map: Nth,
    },
    /// Unmaps a part of a map, which splits it.
    UnmapPart {
        map: Nth,
        part: Part,
    },
    /// Protects a part of a map, or makes it writable.
    Protect {
        map: Nth,
        part: Part,
        write: bool,
    },
    /// Moves one page of a map elsewhere, which makes a map of its own.
    Move {
        map: Nth,
        part: Part,
    },
    Read {
        map: Nth,
        at: u16,
    },
    Write {
        map: Nth,
        at: u16,
        word: u16,
    },
    Export {
        file: Nth,
        handle: Handle,
        flags: u32,
    },
    Import {
        file: Nth,
        from: Any,
    },
    DupBuf {
        buf: Nth,
    },
    CloseBuf {
        buf: Nth,
    },
    Attach {
        file: Nth,
        handle: Handle,
        flags: u32,
        pad: u32,
        form: Form,
    },
    Signal {
        file: Nth,
        id: Id,
        flags: u32,
    },
    SyncOut {
        buf: Nth,
        flags: u32,
    },
    SyncIn {
        buf: Nth,
        from: Any,
        flags: u32,
    },
    Merge {
        sync: Nth,
        with: Any,
        flags: u32,
        pad: u32,
    },
    Info {
        sync: Nth,
        room: u32,
        flags: u32,
    },
    CloseSync {
        sync: Nth,
    },
    PollBuf {
        buf: Nth,
        events: Events,
    },
    PollSync {
        sync: Nth,
        events: Events,
    },
    WaitBuf {
        buf: Nth,
        events: Events,
    },
    WaitSync {
        sync: Nth,
    },
    Unknown {
        file: Nth,
        number: u8,
    },
    Fork,
    Kill {
        child: Nth,
    },
    /// Let all fences that are pending expire.
    Expire,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub width: u32,
    pub height: u32,
    pub bpp: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Handle {
    /// One that the file has.
    Held(Nth),
    Raw(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Id {
    /// One that the file can still signal.
    Held(Nth),
    Raw(u32),
}

/// A file descriptor of some kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Any {
    Buf(Nth),
    Sync(Nth),
    Drm(Nth),
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Map {
    ReadWrite,
    ReadOnly,
    Private,
    /// Of one page more than there is.
    TooLong,
}

/// How the arguments of an ioctl are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    Plain,
    /// In memory that can't be written to.
    ReadOnly,
    /// Without the last two members.
    Short,
    /// With more than the kernel knows.
    Long,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Events {
    In,
    Out,
    InOut,
    None,
}

impl Events {
    pub fn read(self) -> bool {
        matches!(self, Self::In | Self::InOut)
    }

    pub fn write(self) -> bool {
        matches!(self, Self::Out | Self::InOut)
    }
}

fn nth() -> impl Strategy<Value = Nth> + Clone {
    0..=OF_ALL
}

fn handle() -> impl Strategy<Value = Handle> + Clone {
    prop_oneof![
        9 => nth().prop_map(Handle::Held),
        1 => prop_oneof![0..6u32, Just(u32::MAX), Just(1 << 31)].prop_map(Handle::Raw),
    ]
}

fn id() -> impl Strategy<Value = Id> + Clone {
    prop_oneof![
        4 => nth().prop_map(Id::Held),
        1 => prop_oneof![4 => 0..8u32, 1 => Just(1 << 31), 1 => Just(u32::MAX)].prop_map(Id::Raw),
    ]
}

fn any_fd() -> impl Strategy<Value = Any> + Clone {
    prop_oneof![
        1 => nth().prop_map(Any::Buf),
        1 => nth().prop_map(Any::Sync),
        1 => nth().prop_map(Any::Drm),
        1 => Just(Any::None),
    ]
}

fn events() -> impl Strategy<Value = Events> + Clone {
    prop_oneof![
        3 => Just(Events::In),
        3 => Just(Events::Out),
        3 => Just(Events::InOut),
        1 => Just(Events::None),
    ]
}

fn wait() -> impl Strategy<Value = Events> + Clone {
    prop_oneof![Just(Events::In), Just(Events::Out), Just(Events::InOut)]
}

fn map() -> impl Strategy<Value = Map> + Clone {
    prop_oneof![
        6 => Just(Map::ReadWrite),
        2 => Just(Map::ReadOnly),
        1 => Just(Map::Private),
        1 => Just(Map::TooLong),
    ]
}

fn part() -> impl Strategy<Value = Part> + Clone {
    any::<u16>()
}

fn form() -> impl Strategy<Value = Form> + Clone {
    prop_oneof![
        12 => Just(Form::Plain),
        1 => Just(Form::ReadOnly),
        1 => Just(Form::Short),
        1 => Just(Form::Long),
    ]
}

fn shape() -> impl Strategy<Value = Shape> + Clone {
    let good = (
        prop_oneof![Just(1u32), Just(64), Just(1000), Just(1024)],
        1..5u32,
        prop_oneof![3 => Just(32u32), 1 => Just(16), 1 => Just(8)],
    );
    let bad = prop_oneof![
        Just((0u32, 1u32, 32u32)),
        Just((1, 0, 32)),
        Just((1, 1, 0)),
        Just((1 << 16, 1 << 16, 32)),
        Just((u32::MAX, 1, 8)),
        Just((1, 1, u32::MAX)),
    ];
    prop_oneof![9 => good, 1 => bad].prop_map(|(width, height, bpp)| Shape { width, height, bpp })
}

/// Mostly `good`, else a number with few bits.
fn flags(good: impl Strategy<Value = u32> + Clone) -> impl Strategy<Value = u32> + Clone {
    prop_oneof![
        15 => good,
        1 => prop_oneof![0..8u32, Just(1 << 31), Just(u32::MAX)],
    ]
}

fn pad() -> impl Strategy<Value = u32> + Clone {
    prop_oneof![29 => Just(0u32), 1 => prop_oneof![Just(1u32), Just(1 << 31)]]
}

fn op() -> impl Strategy<Value = Op> + Clone {
    use nix::libc::{O_CLOEXEC, O_RDWR};

    let export = flags(prop_oneof![
        4 => Just((O_CLOEXEC | O_RDWR) as u32),
        1 => Just(O_RDWR as u32),
        1 => Just(0),
    ]);

    prop_oneof![
        5 => any::<bool>().prop_map(|render| Op::Open { render }),
        1 => nth().prop_map(|file| Op::Dup { file }),
        3 => nth().prop_map(|file| Op::Close { file }),
        8 => (nth(), shape()).prop_map(|(file, shape)| Op::Create { file, shape }),
        4 => (nth(), handle(), any::<bool>())
            .prop_map(|(file, handle, dumb)| Op::GemClose { file, handle, dumb }),
        5 => (nth(), handle()).prop_map(|(file, handle)| Op::Offset { file, handle }),
        6 => (nth(), nth(), map(), prop_oneof![3 => Just(0), 1 => part()])
            .prop_map(|(file, object, how, part)| Op::MapFile { file, object, how, part }),
        5 => (nth(), map(), prop_oneof![1 => Just(0), 1 => part()])
            .prop_map(|(buf, how, part)| Op::MapBuf { buf, how, part }),
        3 => nth().prop_map(|map| Op::Unmap { map }),
        2 => (nth(), part()).prop_map(|(map, part)| Op::UnmapPart { map, part }),
        3 => (nth(), part(), any::<bool>())
            .prop_map(|(map, part, write)| Op::Protect { map, part, write }),
        1 => (nth(), part()).prop_map(|(map, part)| Op::Move { map, part }),
        5 => (nth(), any::<u16>()).prop_map(|(map, at)| Op::Read { map, at }),
        6 => (nth(), any::<u16>(), any::<u16>())
            .prop_map(|(map, at, word)| Op::Write { map, at, word }),
        9 => (nth(), handle(), export)
            .prop_map(|(file, handle, flags)| Op::Export { file, handle, flags }),
        9 => (nth(), prop_oneof![9 => nth().prop_map(Any::Buf), 1 => any_fd()])
            .prop_map(|(file, from)| Op::Import { file, from }),
        1 => nth().prop_map(|buf| Op::DupBuf { buf }),
        3 => nth().prop_map(|buf| Op::CloseBuf { buf }),
        25 => (nth(), handle(), flags(0..2u32), pad(), form()).prop_map(
            |(file, handle, flags, pad, form)| Op::Attach { file, handle, flags, pad, form }
        ),
        16 => (nth(), id(), prop_oneof![29 => Just(0u32), 1 => 1..4u32])
            .prop_map(|(file, id, flags)| Op::Signal { file, id, flags }),
        9 => (nth(), flags(1..4u32)).prop_map(|(buf, flags)| Op::SyncOut { buf, flags }),
        9 => (nth(), prop_oneof![9 => nth().prop_map(Any::Sync), 1 => any_fd()], flags(1..4u32))
            .prop_map(|(buf, from, flags)| Op::SyncIn { buf, from, flags }),
        5 => (nth(), prop_oneof![9 => nth().prop_map(Any::Sync), 1 => any_fd()], pad(), pad())
            .prop_map(|(sync, with, flags, pad)| Op::Merge { sync, with, flags, pad }),
        7 => (nth(), prop_oneof![1 => Just(0u32), 1 => Just(1), 3 => Just(ROOM)], pad())
            .prop_map(|(sync, room, flags)| Op::Info { sync, room, flags }),
        2 => nth().prop_map(|sync| Op::CloseSync { sync }),
        9 => (nth(), events()).prop_map(|(buf, events)| Op::PollBuf { buf, events }),
        5 => (nth(), events()).prop_map(|(sync, events)| Op::PollSync { sync, events }),
        3 => (nth(), wait()).prop_map(|(buf, events)| Op::WaitBuf { buf, events }),
        2 => nth().prop_map(|sync| Op::WaitSync { sync }),
        1 => (nth(), prop_oneof![Just(0x40u8), Just(0x43), Just(0x9f), Just(0xff)])
            .prop_map(|(file, number)| Op::Unknown { file, number }),
        1 => Just(Op::Fork),
        1 => nth().prop_map(|child| Op::Kill { child }),
    ]
}

/// What makes the operations after it more likely to mean something.
fn start() -> impl Strategy<Value = Vec<Op>> + Clone {
    let export = Op::Export {
        file: 0,
        handle: Handle::Held(0),
        flags: (nix::libc::O_CLOEXEC | nix::libc::O_RDWR) as u32,
    };
    (shape(), shape(), any::<bool>()).prop_map(move |(first, second, render)| {
        vec![
            Op::Open { render: false },
            Op::Create { file: 0, shape: first },
            export,
            Op::Open { render },
            Op::Import { file: OF_ALL, from: Any::Buf(0) },
            Op::Create { file: 0, shape: second },
        ]
    })
}

/// A sequence that does not wait for time to pass.
pub fn sequence() -> BoxedStrategy<Vec<Op>> {
    (start(), prop::collection::vec(op(), 0..160))
        .prop_map(|(mut start, more)| {
            start.extend(more);
            start
        })
        .boxed()
}

/// A sequence in which fences expire.
pub fn expiring() -> BoxedStrategy<Vec<Op>> {
    (sequence(), prop::collection::vec(op(), 0..80))
        .prop_map(|(mut before, after)| {
            before.push(Op::Expire);
            before.extend(after);
            before
        })
        .boxed()
}
