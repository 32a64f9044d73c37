// SPDX-License-Identifier: GPL-2.0

//! Tests of the model and of the search, which need no device.

use std::{collections::BTreeMap, fs, path::Path};

use nix::errno::Errno;
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};

use crate::{
    model::{Call, Driver, Fd, Info, Key, Model, Mutation, Reply, Time, SECOND},
    op::{self, Any, Events, Form, Handle, Id, Map, Op, Shape, OF_ALL},
    search::{self, runner, Shrink},
    seq::{self, Device},
};

/// A device that does what the model says; its time passes with each call.
struct Simulation {
    model: Model,
    now: Time,
}

impl Simulation {
    fn new() -> Self {
        Self { model: Model::new(Driver::Rust, None), now: SECOND }
    }
}

impl Device for Simulation {
    fn now(&mut self) -> Time {
        self.now += 1000;
        self.now
    }

    fn call(&mut self, call: &Call) -> Reply {
        if let Call::Sleep { until } = call {
            self.now = self.now.max(*until);
        }
        let now = self.now();
        let reply = self.model.apply(call, now);
        self.model.done(now);
        reply
    }

    fn woken(&mut self, wait: Key) -> bool {
        self.model.over().contains(&wait)
    }

    fn stalled(&self) -> Time {
        0
    }
}

#[test]
fn only_an_expiry_may_be_as_late_as_the_machine() {
    let info = |signaled, from, to| {
        Reply::Info(Info { signaled, active: (0, 0), done: (1, 1), when: Some((from, to)) })
    };
    let expected = info(true, SECOND, 2 * SECOND);
    let late = info(true, 3 * SECOND, 3 * SECOND);
    assert!(!expected.allows(&late, SECOND - 1));
    assert!(expected.allows(&late, SECOND));
    assert!(!expected.allows(&info(true, SECOND - 1, SECOND - 1), SECOND));
    assert!(!expected.allows(&info(false, SECOND, SECOND), SECOND));
    assert!(!Reply::Done.allows(&Reply::Fails(Errno::EIO), SECOND));
}

/// The shortest sequence that shows that the model is wrong.
fn shortest(mutation: Option<Mutation>) -> Option<(String, Vec<Op>)> {
    let expires = matches!(mutation, Some(Mutation::NoExpiry | Mutation::ExpiryForgets));
    let strategy = if expires { op::expiring() } else { op::sequence() };
    for seed in 0..500 {
        let mut runner = runner(seed, Shrink::FOR_EVER);
        let tree = strategy.new_tree(&mut runner).expect("no choice is refused");
        let found = search::shrink(&mut runner, tree, |ops| {
            seq::run(&mut Simulation::new(), Driver::Rust, mutation, ops).0.map(drop)
        });
        if found.is_some() {
            return found;
        }
    }
    None
}

#[test]
fn the_model_agrees_with_itself() {
    assert_eq!(shortest(None), None);
}

#[test]
fn a_wrong_model_is_found_and_the_sequence_is_short() {
    for mutation in Mutation::ALL {
        let (why, ops) = shortest(Some(mutation)).unwrap_or_else(|| panic!("{mutation:?}"));
        println!("{mutation:?}: {why}\n  {ops:?}");
        assert!(ops.len() <= 8, "{mutation:?}: {ops:?}");
    }
}

/// The sequences in `regressions/` are good, and one of them is not for each wrong model.
#[test]
fn the_sequences_that_are_kept_find_every_wrong_model() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let sequences: Vec<Vec<Op>> = fs::read_dir(directory)
        .expect("there is such a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).expect("a text"))
        .map(|text| serde_json::from_str(&text).expect("a sequence"))
        .collect();
    let wrong = |mutation| {
        (sequences.iter())
            .filter(|ops| seq::run(&mut Simulation::new(), Driver::Rust, mutation, ops).0.is_err())
            .count()
    };
    assert_eq!(wrong(None), 0);
    for mutation in Mutation::ALL {
        assert_ne!(wrong(Some(mutation)), 0, "{mutation:?}");
    }
}

/// A model, and the time.
struct Told {
    model: Model,
    now: Time,
}

fn new() -> Told {
    Told { model: Model::new(Driver::Rust, None), now: SECOND }
}

impl Told {
    fn does(&mut self, op: Op) -> Reply {
        let call = self.model.call(op).expect("there is something to do it to");
        if let Call::Sleep { until } = call {
            self.now = until;
        }
        self.now += 1000;
        let reply = self.model.apply(&call, self.now);
        self.model.done(self.now);
        reply
    }

    fn is(&mut self, op: Op, reply: Reply) -> &mut Self {
        assert_eq!(self.does(op), reply, "{op:?}");
        self
    }

    fn fails(&mut self, op: Op, errno: Errno) -> &mut Self {
        self.is(op, Reply::Fails(errno))
    }

    fn open(&mut self) -> &mut Self {
        self.is(Op::Open { render: false }, Reply::Done)
    }

    /// A buffer of one page.
    fn create(&mut self, file: u8, handle: u32) -> &mut Self {
        let reply = Reply::Buffer { handle, pitch: 4096, size: 4096 };
        self.is(create(file), reply)
    }
}

fn create(file: u8) -> Op {
    let shape = Shape { width: 1024, height: 1, bpp: 32 };
    Op::Create { file, shape }
}

fn attach(file: u8, handle: u32, flags: u32) -> Op {
    let (handle, pad, form) = (Handle::Raw(handle), 0, Form::Plain);
    Op::Attach { file, handle, flags, pad, form }
}

fn signal(file: u8, id: u32) -> Op {
    let (id, flags) = (Id::Raw(id), 0);
    Op::Signal { file, id, flags }
}

fn export(file: u8, handle: u32) -> Op {
    let (handle, flags) = (Handle::Raw(handle), nix::libc::O_RDWR as u32);
    Op::Export { file, handle, flags }
}

fn import(file: u8, buf: u8) -> Op {
    let from = Any::Buf(buf);
    Op::Import { file, from }
}

fn poll(buf: u8) -> Op {
    let events = Events::InOut;
    Op::PollBuf { buf, events }
}

fn ready(read: bool, write: bool) -> Reply {
    Reply::Events { read, write }
}

#[test]
fn readers_share_and_a_writer_does_not() {
    new()
        .open()
        .create(0, 1)
        .is(export(0, 1), Reply::Buf(1))
        .is(poll(0), ready(true, true))
        .is(attach(0, 1, 0), Reply::Fence(1))
        .is(attach(0, 1, 0), Reply::Fence(2))
        .is(poll(0), ready(true, false))
        .fails(attach(0, 1, 1), Errno::EBUSY)
        .is(signal(0, 2), Reply::Done)
        .fails(attach(0, 1, 1), Errno::EBUSY)
        .is(signal(0, 1), Reply::Done)
        .is(attach(0, 1, 1), Reply::Fence(3))
        .is(poll(0), ready(false, false))
        .fails(attach(0, 1, 0), Errno::EBUSY)
        .fails(attach(0, 1, 1), Errno::EBUSY);
}

#[test]
fn arguments_are_checked_in_order() {
    let bad = |handle, flags, pad| Op::Attach {
        file: 0,
        handle: Handle::Raw(handle),
        flags,
        pad,
        form: Form::Plain,
    };
    new()
        .open()
        .create(0, 1)
        .is(attach(0, 1, 1), Reply::Fence(1))
        .fails(bad(7, 2, 0), Errno::EINVAL)
        .fails(bad(7, 0, 1), Errno::EINVAL)
        .fails(bad(7, 0, 0), Errno::ENOENT)
        .fails(bad(0, 0, 0), Errno::ENOENT)
        .fails(Op::Signal { file: 0, id: Id::Raw(7), flags: 1 }, Errno::EINVAL)
        .fails(signal(0, 0), Errno::ENOENT)
        .fails(signal(0, 7), Errno::ENOENT)
        .is(signal(0, 1), Reply::Done)
        .fails(signal(0, 1), Errno::ENOENT);
}

#[test]
fn an_attach_whose_result_is_lost_has_happened() {
    let lost =
        Op::Attach { file: 0, handle: Handle::Raw(1), flags: 0, pad: 0, form: Form::ReadOnly };
    new()
        .open()
        .create(0, 1)
        .fails(lost, Errno::EFAULT)
        .is(attach(0, 1, 0), Reply::Fence(2))
        .is(signal(0, 1), Reply::Done);
}

#[test]
fn a_fence_expires_and_that_is_told_once() {
    let mut told = new();
    told.open().create(0, 1).is(export(0, 1), Reply::Buf(1)).is(attach(0, 1, 1), Reply::Fence(1));
    let attached = told.now;
    assert!(!told.model.is_unclear(attached + 9 * SECOND));
    assert!(told.model.is_unclear(attached + 10 * SECOND));
    told.is(Op::Expire, Reply::Done)
        .is(poll(0), ready(true, true))
        .is(attach(0, 1, 1), Reply::Fence(2))
        .fails(signal(0, 1), Errno::ETIMEDOUT)
        .fails(signal(0, 1), Errno::ENOENT)
        .is(signal(0, 2), Reply::Done);
}

#[test]
fn a_file_signals_when_its_last_user_goes() {
    let mut told = new();
    told.open()
        .open()
        .create(0, 1)
        .is(export(0, 1), Reply::Buf(1))
        .is(import(1, 0), Reply::Handle(1))
        .is(attach(0, 1, 1), Reply::Fence(1))
        .fails(attach(1, 1, 1), Errno::EBUSY)
        .fails(signal(OF_ALL, 1), Errno::ENOENT)
        .is(Op::Fork, Reply::Done)
        .is(Op::Close { file: 0 }, Reply::Done)
        .fails(attach(0, 1, 1), Errno::EBUSY)
        .is(Op::Kill { child: 0 }, Reply::Done)
        .is(attach(0, 1, 1), Reply::Fence(1));

    // A map keeps the file, too.
    let map = Op::MapFile { file: 0, object: 0, how: Map::ReadWrite, part: 0 };
    let offset = Op::Offset { file: 0, handle: Handle::Raw(1) };
    told.is(offset, Reply::Done)
        .is(map, Reply::Done)
        .is(Op::Close { file: 0 }, Reply::Done)
        .is(poll(0), ready(false, false))
        .is(Op::Unmap { map: 0 }, Reply::Done)
        .is(poll(0), ready(true, true));
}

#[test]
fn a_buffer_has_one_handle_in_a_file() {
    let close = |file, handle| Op::GemClose { file, handle: Handle::Raw(handle), dumb: false };
    new()
        .open()
        .open()
        .create(0, 1)
        .create(0, 2)
        .is(export(0, 2), Reply::Buf(1))
        .is(export(0, 1), Reply::Buf(2))
        .is(export(0, 2), Reply::Buf(1))
        .is(import(0, 0), Reply::Handle(2))
        .is(import(1, 1), Reply::Handle(1))
        .is(import(1, 0), Reply::Handle(2))
        .is(close(0, 1), Reply::Done)
        .fails(close(0, 1), Errno::EINVAL)
        .is(import(0, 1), Reply::Handle(1))
        .is(close(0, 1), Reply::Done)
        .create(0, 1)
        .is(import(0, 1), Reply::Handle(3))
        .fails(Op::Import { file: 0, from: Any::Drm(0) }, Errno::EINVAL)
        .fails(Op::Import { file: 0, from: Any::None }, Errno::EBADF);
}

#[test]
fn a_render_node_makes_no_buffers() {
    new()
        .is(Op::Open { render: true }, Reply::Done)
        .fails(create(0), Errno::EACCES)
        .open()
        .create(1, 1)
        .is(export(1, 1), Reply::Buf(1))
        .is(import(0, 0), Reply::Handle(1))
        .is(attach(0, 1, 1), Reply::Fence(1));
}

#[test]
fn a_sync_file_is_what_there_was() {
    let out = |flags| Op::SyncOut { buf: 0, flags };
    let is = |sync, read| (Op::PollSync { sync, events: Events::In }, ready(read, false));
    let mut told = new();
    told.open()
        .create(0, 1)
        .create(0, 2)
        .is(export(0, 1), Reply::Buf(1))
        .is(export(0, 2), Reply::Buf(2))
        .is(attach(0, 1, 0), Reply::Fence(1))
        .is(attach(0, 1, 0), Reply::Fence(2))
        .fails(out(0), Errno::EINVAL)
        .is(out(1), Reply::Done)
        .is(out(2), Reply::Done)
        .is(attach(0, 1, 0), Reply::Fence(3));
    for (op, reply) in [is(0, true), is(1, false)] {
        told.is(op, reply);
    }
    // The other buffer then is busy until both readers are done.
    told.is(Op::SyncIn { buf: 1, from: Any::Sync(1), flags: 2 }, Reply::Done)
        .fails(attach(0, 2, 0), Errno::EBUSY)
        .is(signal(0, 1), Reply::Done)
        .is(poll(1), ready(false, false))
        .is(signal(0, 2), Reply::Done)
        .is(poll(1), ready(true, true))
        .is(is(1, true).0, ready(true, false))
        .is(poll(0), ready(true, false));
}

#[test]
fn a_wait_may_see_half_of_what_a_close_signals() {
    let wait = Op::WaitBuf { buf: 0, events: Events::InOut };
    for fences in 1..=2 {
        let mut told = new();
        told.open()
            .create(0, 1)
            .create(0, 2)
            .is(export(0, 1), Reply::Buf(1))
            .is(attach(0, 1, 1), Reply::Fence(1));
        for id in 2..=fences {
            told.is(attach(0, 2, 0), Reply::Fence(id));
        }
        told.is(wait, Reply::Done);
        assert!(told.model.over().is_empty());
        told.is(Op::Close { file: 0 }, Reply::Done);
        let over = told.model.over();
        assert_eq!(over.len(), 1);
        let join = Call::Join { wait: over[0] };
        let reply = Reply::SomeOf { read: true, write: true };
        assert_eq!(told.model.apply(&join, told.now), reply);
    }
    let some = Reply::SomeOf { read: true, write: false };
    assert!(some.allows(&ready(true, false), 0));
    assert!(!some.allows(&ready(true, true), 0));
    assert!(!some.allows(&ready(false, false), 0));
}

#[test]
fn words_are_the_buffers() {
    let mut told = new();
    told.open().create(0, 1).is(export(0, 1), Reply::Buf(1));
    for how in [Map::ReadWrite, Map::ReadOnly] {
        told.is(Op::MapBuf { buf: 0, how, part: 0 }, Reply::Done);
    }
    told.is(Op::Write { map: 0, at: 0, word: 7 }, Reply::Done)
        .is(Op::Read { map: 1, at: 0 }, Reply::Word(7))
        .is(Op::Read { map: 1, at: 1 }, Reply::Word(0));
    assert_eq!(told.model.call(Op::Write { map: 1, at: 0, word: 7 }), None);
    let map = |how| Op::MapBuf { buf: 0, how, part: 0 };
    told.fails(map(Map::Private), Errno::EINVAL).fails(map(Map::TooLong), Errno::EINVAL);
}

/// Two pages of four from the second on, without the first of them.
#[test]
fn a_part_of_a_map_is_of_the_same_pages() {
    let mut told = new();
    let shape = Shape { width: 1024, height: 4, bpp: 32 };
    let buffer = Reply::Buffer { handle: 1, pitch: 4096, size: 4 * 4096 };
    let whole = Op::MapBuf { buf: 0, how: Map::ReadWrite, part: 0 };
    let part = Op::MapBuf { buf: 0, how: Map::ReadWrite, part: 1 + 4 };
    told.open()
        .is(Op::Create { file: 0, shape }, buffer)
        .is(export(0, 1), Reply::Buf(1))
        .is(whole, Reply::Done)
        .is(part, Reply::Done)
        .is(Op::Write { map: 0, at: 1, word: 5 }, Reply::Done)
        .is(Op::Write { map: 0, at: 2, word: 6 }, Reply::Done)
        .is(Op::Read { map: 1, at: 0 }, Reply::Word(5))
        .is(Op::Read { map: 1, at: 1 }, Reply::Word(6))
        .is(Op::UnmapPart { map: 1, part: 4 }, Reply::Done)
        .is(Op::Read { map: 1, at: 0 }, Reply::Word(6))
        .is(Op::Protect { map: 1, part: 0, write: false }, Reply::Done);
    assert_eq!(told.model.call(Op::Write { map: 1, at: 0, word: 7 }), None);
    told.is(Op::Move { map: 0, part: 2 }, Reply::Done)
        .is(Op::Read { map: 2, at: 0 }, Reply::Word(6))
        .is(Op::Read { map: 0, at: 1 }, Reply::Word(5))
        .is(Op::Read { map: 0, at: 2 }, Reply::Word(0))
        .is(Op::UnmapPart { map: 2, part: 0 }, Reply::Done);
    let there = |told: &Told| told.model.clone().call(Op::Unmap { map: 2 });
    assert_eq!(there(&told), told.model.clone().call(Op::Unmap { map: 0 }));

    // The offset of a page is that of no object.
    let offset = Op::Offset { file: 0, handle: Handle::Raw(1) };
    let map = |part| Op::MapFile { file: 0, object: 0, how: Map::ReadWrite, part };
    told.is(offset, Reply::Done).fails(map(1), Errno::EINVAL).is(map(4), Reply::Done);

    // What was exported to be read only stays so.
    let mut told = new();
    let export = Op::Export { file: 0, handle: Handle::Raw(1), flags: 0 };
    told.open()
        .create(0, 1)
        .is(export, Reply::Buf(1))
        .is(Op::MapBuf { buf: 0, how: Map::ReadOnly, part: 0 }, Reply::Done)
        .fails(Op::Protect { map: 0, part: 0, write: true }, Errno::EACCES);
}

#[test]
fn what_is_left_is_closed() {
    let mut told = new();
    told.open().create(0, 1).is(export(0, 1), Reply::Buf(1)).is(Op::Fork, Reply::Done);
    let left = told.model.left();
    assert!(left.contains(&Call::Kill { child: 4 }), "{left:?}");
    assert!(left.contains(&Call::Close { fd: Fd::Drm(1) }));
    for call in left {
        told.model.apply(&call, told.now);
    }
    assert_eq!(told.model.left(), []);
}

/// What sequences make happen: how often a call had a result.
fn happens(kind: &BoxedStrategy<Vec<Op>>) -> BTreeMap<String, u32> {
    let word = |text: &str| text.split([' ', '(']).next().unwrap_or("").to_string();
    let mut counts = BTreeMap::new();
    for seed in 0..500 {
        let mut runner = runner(seed, Shrink::NEVER);
        let tree = kind.new_tree(&mut runner).expect("no choice is refused");
        let ops = tree.current();
        let (result, trace) = seq::run(&mut Simulation::new(), Driver::Rust, None, &ops);
        result.expect("the model agrees with itself");
        for line in trace.lines() {
            let (call, reply) = line.trim().split_once(" -> ").expect("a call and its reply");
            let reply = match reply.strip_prefix("Fails(") {
                Some(error) => error.trim_end_matches(')').to_string(),
                None => word(reply),
            };
            *counts.entry(format!("{} {reply}", word(call))).or_default() += 1;
        }
    }
    counts
}

#[test]
fn sequences_reach_everything() {
    let counts = happens(&op::sequence());
    println!("{counts:#?}");
    for (call, replies) in [
        ("Attach", "Fence Done EBUSY ENOENT EINVAL EFAULT"),
        ("Signal", "Done ENOENT EINVAL"),
        ("Create", "Buffer EACCES EINVAL"),
        ("GemClose", "Done EACCES EINVAL"),
        ("Offset", "Done EACCES ENOENT"),
        ("Map", "Done EACCES EINVAL"),
        ("UnmapPart", "Done"),
        ("Protect", "Done"),
        ("Move", "Done"),
        ("Read", "Word"),
        ("Write", "Done"),
        ("Export", "Buf ENOENT EINVAL"),
        ("Import", "Handle EBADF EINVAL"),
        ("Dup", "Done"),
        ("SyncOut", "Done EINVAL"),
        ("SyncIn", "Done EINVAL"),
        ("Merge", "Done ENOENT EINVAL"),
        ("Info", "Info EINVAL"),
        ("Poll", "Events"),
        ("Join", "Events"),
        ("Unknown", "EINVAL"),
        ("Fork", "Done"),
        ("Kill", "Done"),
    ] {
        for reply in replies.split(' ') {
            let what = format!("{call} {reply}");
            assert!(counts.get(&what).is_some_and(|count| *count >= 20), "{what}");
        }
    }
    let counts = happens(&op::expiring());
    assert!(counts["Signal ETIMEDOUT"] >= 20, "{counts:?}");
}
