// SPDX-License-Identifier: GPL-2.0

//! What has to happen: an exact model of VGEM and of what it shares with others, from the view of
//! a process.
//!
//! An operation becomes a [`Call`], which says which files it is for, and what has to come back.

use std::collections::BTreeMap;

use nix::errno::Errno;

use crate::op::{Any, Events, Form, Handle, Id, Map, Nth, Op, Part, Shape, OF_ALL};

/// Nanoseconds on `CLOCK_MONOTONIC`.
pub type Time = u64;

pub const SECOND: Time = 1_000_000_000;

const PAGE: u64 = 4096;

/// How long a fence has until it is signalled for the client.
const TIMEOUT: Time = 10 * SECOND;

/// Nothing is asked of fences that are this near to their end.
const MARGIN: Time = SECOND;

/// More fences than there ever are in a sync_file.
pub const ROOM: u32 = 512;

pub const READ: u32 = 1;
pub const WRITE: u32 = 2;

/// Which VGEM it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    C,
    Rust,
}

impl Driver {
    /// How much too early a fence may expire: C counts jiffies, which stand still while the
    /// machine does.
    fn early(self) -> Time {
        match self {
            Self::C => SECOND / 4,
            Self::Rust => 0,
        }
    }

    /// How much too late: C's timers are as coarse as an eighth of the time that they wait.
    fn late(self) -> Time {
        match self {
            Self::C => SECOND * 5 / 4 + SECOND / 2,
            Self::Rust => SECOND / 2,
        }
    }
}

/// Changes to the model that make it wrong, to see that this is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A reader does not wait for a writer.
    ReadersIgnoreWriters,
    /// A writer does not wait for readers.
    WritersIgnoreReaders,
    /// Readers exclude each other.
    ReadersConflict,
    /// An ID is given up by a failed attach.
    FailureTakesId,
    /// Files don't signal their fences when they are closed.
    CloseForgets,
    /// A map does not keep its file open.
    MapKeepsNothing,
    /// A fence that expired is forgotten.
    ExpiryForgets,
    /// Fences never expire.
    NoExpiry,
    /// An import makes a new handle each time.
    ImportIsNew,
    /// Handles are not used again.
    HandlesAreNew,
    /// A poll for reading waits for readers.
    PollWaitsForReaders,
    /// A sync_file for reading has readers in it.
    SyncOutHasReaders,
    /// A fence is imported as a reader's.
    SyncInReads,
    /// Pad is not looked at.
    PadIgnored,
    /// A map of a DMA-BUF begins with its first page, whatever the offset.
    OffsetIgnored,
    /// What is left of a map begins with the first page.
    SplitBegins,
}

impl Mutation {
    pub const ALL: [Self; 16] = [
        Self::ReadersIgnoreWriters,
        Self::WritersIgnoreReaders,
        Self::ReadersConflict,
        Self::FailureTakesId,
        Self::CloseForgets,
        Self::MapKeepsNothing,
        Self::ExpiryForgets,
        Self::NoExpiry,
        Self::ImportIsNew,
        Self::HandlesAreNew,
        Self::PollWaitsForReaders,
        Self::SyncOutHasReaders,
        Self::SyncInReads,
        Self::PadIgnored,
        Self::OffsetIgnored,
        Self::SplitBegins,
    ];
}

/// The number of a file descriptor, a map or a child; never used again.
pub type Key = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fd {
    Drm(Key),
    Buf(Key),
    Sync(Key),
    None,
}

/// A system call, or a few that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Open { new: Key, render: bool },
    Create { file: Key, shape: Shape },
    GemClose { file: Key, handle: u32, dumb: bool },
    Offset { file: Key, handle: u32, object: Option<usize> },
    // Of `count` pages of the object from `first` on.
    Map { of: Fd, object: usize, first: u64, count: u64, how: Map, new: Key },
    Unmap { map: Key },
    // Of `count` pages of the map from `first` on, all of which it has.
    UnmapPart { map: Key, first: u64, count: u64 },
    Protect { map: Key, first: u64, count: u64, write: bool },
    Move { map: Key, page: u64, new: Key },
    Read { map: Key, at: u64 },
    Write { map: Key, at: u64, word: u16 },
    Export { file: Key, handle: u32, flags: u32, new: Key },
    Import { file: Key, from: Fd },
    Dup { of: Fd, new: Key },
    Close { fd: Fd },
    Attach { file: Key, handle: u32, flags: u32, pad: u32, form: Form },
    Signal { file: Key, id: u32, flags: u32 },
    SyncOut { buf: Key, flags: u32, new: Key },
    SyncIn { buf: Key, from: Fd, flags: u32 },
    Merge { sync: Key, with: Fd, flags: u32, pad: u32, new: Key },
    Info { sync: Key, room: u32, flags: u32 },
    Poll { fd: Fd, events: Events },
    Wait { fd: Fd, events: Events, new: Key },
    Join { wait: Key },
    Unknown { file: Key, number: u8 },
    Fork { new: Key },
    Kill { child: Key },
    Sleep { until: Time },
}

/// What comes back. What has to come back may be a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Done,
    Fails(Errno),
    Buffer {
        handle: u32,
        pitch: u32,
        size: u64,
    },
    Handle(u32),
    /// The ID of a new fence.
    Fence(u32),
    /// Which DMA-BUF it is, in the order in which they were first seen.
    Buf(usize),
    Word(u16),
    Events {
        read: bool,
        write: bool,
    },
    /// What has to come back is one of these, or both.
    SomeOf {
        read: bool,
        write: bool,
    },
    Info(Info),
    /// Something came back that makes no sense.
    Odd(&'static str),
}

/// What is known of a sync_file: how many fences it has that are pending and not, and when the
/// only one was signalled. Without room for the fences, all count as active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    pub signaled: bool,
    pub active: (u32, u32),
    pub done: (u32, u32),
    pub when: Option<(Time, Time)>,
}

impl Reply {
    /// Whether this may be seen on a machine whose timers are up to `stalled` late.
    pub fn allows(&self, actual: &Self, stalled: Time) -> bool {
        let within =
            |outer: (u32, u32), inner: (u32, u32)| outer.0 <= inner.0 && inner.1 <= outer.1;

        match (self, actual) {
            (Self::Info(a), Self::Info(b)) => {
                a.signaled == b.signaled
                    && within(a.active, b.active)
                    && within(a.done, b.done)
                    && match (a.when, b.when) {
                        (Some(a), Some(b)) => a.0 <= b.0 && b.1 <= a.1 + stalled,
                        _ => true,
                    }
            }
            (Self::SomeOf { read, write }, Self::Events { read: is_read, write: is_write }) => {
                (*read || !is_read) && (*write || !is_write) && (*is_read || *is_write)
            }
            (a, b) => a == b,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Attached within this time.
    Pending(Time, Time),
    /// Signalled within this time.
    Signaled(Time, Time),
}

type FenceKey = usize;
type ObjectKey = usize;

/// An open file of VGEM.
#[derive(Clone, Debug)]
struct File {
    render: bool,
    /// Descriptors and maps, here and in children.
    refs: usize,
    handles: BTreeMap<u32, ObjectKey>,
    last_handle: u32,
    /// Fences that were not yet signalled by the client.
    fences: BTreeMap<u32, FenceKey>,
    next: u32,
}

#[derive(Clone, Debug)]
struct Object {
    size: u64,
    /// User space knows the offset to map it by.
    offset: bool,
    words: BTreeMap<u64, u16>,
    fences: BTreeMap<FenceKey, Use>,
    buf: Option<Buf>,
}

/// What for a fence was added to a buffer.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    write: bool,
    /// How often. The kernel may have it less often, but has it.
    times: u32,
}

#[derive(Clone, Copy, Debug)]
struct Buf {
    number: usize,
    writable: bool,
}

/// Fences, and how often they may be there.
#[derive(Clone, Debug)]
struct Sync {
    fences: BTreeMap<FenceKey, u32>,
}

#[derive(Clone, Debug)]
struct Mapping {
    object: ObjectKey,
    /// If it was mapped by a VGEM file.
    file: Option<usize>,
    /// It may be made writable.
    may_write: bool,
    /// What is where, if it was not unmapped.
    pages: Vec<Option<Page>>,
}

#[derive(Clone, Copy, Debug)]
struct Page {
    /// Which one of the object it is.
    number: u64,
    writable: bool,
}

impl Mapping {
    fn page(&self, at: u64) -> Option<Page> {
        self.pages[(at / PAGE) as usize]
    }

    /// The pages that are there.
    fn there(&self) -> Vec<u64> {
        let there = |page: &u64| self.pages[*page as usize].is_some();
        (0..self.pages.len() as u64).filter(there).collect()
    }

    /// A part of the pages, up to the first one that is not there.
    fn run(&self, part: Part) -> (u64, u64) {
        let there = self.there();
        let (first, count) = parts(part, there.len() as u64);
        let first = there[first as usize];
        let run = (first..).zip(&there[there.binary_search(&first).unwrap_or(0)..]);
        (first, run.take(count as usize).take_while(|(page, there)| page == *there).count() as u64)
    }
}

/// The beginning and the length of a part of so many pages.
fn parts(part: Part, pages: u64) -> (u64, u64) {
    let part = u64::from(part);
    let first = part % pages;
    match part {
        0 => (0, pages),
        _ => (first, 1 + part / pages % (pages - first)),
    }
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    fd: Waited,
    events: Events,
}

#[derive(Clone, Copy, Debug)]
enum Waited {
    Buf(ObjectKey),
    Sync(Key),
}

/// What a child has open; it has done nothing since it was forked.
#[derive(Clone, Debug)]
struct Child {
    files: Vec<usize>,
    objects: Vec<ObjectKey>,
}

#[derive(Clone, Debug)]
pub struct Model {
    driver: Driver,
    mutation: Option<Mutation>,
    files: Vec<File>,
    objects: Vec<Object>,
    fences: Vec<State>,
    bufs_made: usize,
    /// How many fences the last call but joins signalled.
    signaled: usize,
    next: Key,
    /// All that follow are by key.
    drm: BTreeMap<Key, usize>,
    buf: BTreeMap<Key, ObjectKey>,
    sync: BTreeMap<Key, Sync>,
    maps: BTreeMap<Key, Mapping>,
    waits: BTreeMap<Key, Waiter>,
    children: BTreeMap<Key, Child>,
    /// What waits are on, when their sync_file was closed.
    waited: BTreeMap<Key, Sync>,
}

fn pick<V>(map: &BTreeMap<Key, V>, nth: Nth) -> Option<Key> {
    let nth = usize::from(nth).checked_rem(map.len())?;
    map.keys().nth(nth).copied()
}

impl Model {
    pub fn new(driver: Driver, mutation: Option<Mutation>) -> Self {
        Self {
            driver,
            mutation,
            files: Vec::new(),
            objects: Vec::new(),
            fences: Vec::new(),
            bufs_made: 0,
            signaled: 0,
            next: 0,
            drm: BTreeMap::new(),
            buf: BTreeMap::new(),
            sync: BTreeMap::new(),
            maps: BTreeMap::new(),
            waits: BTreeMap::new(),
            children: BTreeMap::new(),
            waited: BTreeMap::new(),
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn key(&mut self) -> Key {
        self.next += 1;
        self.next
    }

    /// What an operation means now; [`None`] if there is nothing that it could be done to, or
    /// enough of what it makes.
    pub fn call(&mut self, op: Op) -> Option<Call> {
        let new = self.key();
        let room = |len: usize| (len < 6).then_some(());

        Some(match op {
            Op::Open { render } => {
                room(self.drm.len())?;
                Call::Open { new, render }
            }
            Op::Dup { file } => {
                room(self.drm.len())?;
                let of = Fd::Drm(pick(&self.drm, file)?);
                Call::Dup { of, new }
            }
            Op::Close { file } => Call::Close { fd: Fd::Drm(pick(&self.drm, file)?) },
            Op::Create { file, shape } => {
                let file = self.pick_file(file, |file| !file.render)?;
                room(self.file(file).handles.len())?;
                Call::Create { file, shape }
            }
            Op::GemClose { file, handle, dumb } => {
                let (file, handle) = self.handle(file, handle)?;
                Call::GemClose { file, handle, dumb }
            }
            Op::Offset { file, handle } => {
                let file = self.pick_file(file, |file| !file.render && !file.handles.is_empty())?;
                let handle = self.handle_of(file, handle);
                Call::Offset { file, handle, object: self.file(file).handles.get(&handle).copied() }
            }
            Op::MapFile { file, object, how, part } => {
                room(self.maps.len())?;
                let alive: Vec<_> = (0..self.objects.len())
                    .filter(|object| self.objects[*object].offset && self.alive(*object))
                    .collect();
                let nth = usize::from(object).checked_rem(alive.len())?;
                let object = alive[nth];
                let has = |file: &File| file.handles.values().any(|held| *held == object);
                let of = Fd::Drm(self.pick_file(file, has)?);
                self.map_part(of, object, how, part, new)
            }
            Op::MapBuf { buf, how, part } => {
                room(self.maps.len())?;
                let buf = pick(&self.buf, buf)?;
                self.map_part(Fd::Buf(buf), self.buf[&buf], how, part, new)
            }
            Op::Unmap { map } => Call::Unmap { map: pick(&self.maps, map)? },
            Op::UnmapPart { map, part } => {
                let map = pick(&self.maps, map)?;
                let (first, count) = self.maps[&map].run(part);
                Call::UnmapPart { map, first, count }
            }
            Op::Protect { map, part, write } => {
                let map = pick(&self.maps, map)?;
                let (first, count) = self.maps[&map].run(part);
                Call::Protect { map, first, count, write }
            }
            Op::Move { map, part } => {
                room(self.maps.len())?;
                let map = pick(&self.maps, map)?;
                Call::Move { map, page: self.maps[&map].run(part).0, new }
            }
            Op::Read { map, at } => {
                let map = pick(&self.maps, map)?;
                let at = self.at(map, at);
                Call::Read { map, at }
            }
            Op::Write { map, at, word } => {
                let map = pick(&self.maps, map)?;
                let at = self.at(map, at);
                self.maps[&map].page(at).filter(|page| page.writable)?;
                Call::Write { map, at, word }
            }
            Op::Export { file, handle, flags } => {
                room(self.buf.len())?;
                let (file, handle) = self.handle(file, handle)?;
                Call::Export { file, handle, flags, new }
            }
            Op::Import { file, from } => {
                Call::Import { file: pick(&self.drm, file)?, from: self.fd(from)? }
            }
            Op::DupBuf { buf } => {
                room(self.buf.len())?;
                let of = Fd::Buf(pick(&self.buf, buf)?);
                Call::Dup { of, new }
            }
            Op::CloseBuf { buf } => Call::Close { fd: Fd::Buf(pick(&self.buf, buf)?) },
            Op::Attach { file, handle, flags, pad, form } => {
                let (file, handle) = self.handle(file, handle)?;
                // Without its last two members there is no pad.
                let pad = if form == Form::Short { 0 } else { pad };
                Call::Attach { file, handle, flags, pad, form }
            }
            Op::Signal { file, id, flags } => {
                let file = self.pick_file(file, |file| !file.fences.is_empty())?;
                let id = match id {
                    Id::Held(nth) => pick_id(&self.file(file).fences, nth),
                    Id::Raw(id) => id,
                };
                Call::Signal { file, id, flags }
            }
            Op::SyncOut { buf, flags } => {
                room(self.sync.len())?;
                let buf = pick(&self.buf, buf)?;
                Call::SyncOut { buf, flags, new }
            }
            Op::SyncIn { buf, from, flags } => {
                Call::SyncIn { buf: pick(&self.buf, buf)?, from: self.fd(from)?, flags }
            }
            Op::Merge { sync, with, flags, pad } => {
                room(self.sync.len())?;
                Call::Merge { sync: pick(&self.sync, sync)?, with: self.fd(with)?, flags, pad, new }
            }
            Op::Info { sync, room, flags } => {
                let sync = pick(&self.sync, sync)?;
                let (least, most) = self.count(&self.sync[&sync], |_| true);
                // It is not known what fits then.
                let room = if (least..most).contains(&room) && room != 0 { ROOM } else { room };
                Call::Info { sync, room, flags }
            }
            Op::CloseSync { sync } => Call::Close { fd: Fd::Sync(pick(&self.sync, sync)?) },
            Op::PollBuf { buf, events } => {
                Call::Poll { fd: Fd::Buf(pick(&self.buf, buf)?), events }
            }
            Op::PollSync { sync, events } => {
                Call::Poll { fd: Fd::Sync(pick(&self.sync, sync)?), events }
            }
            Op::WaitBuf { buf, events } => {
                room(self.waits.len())?;
                let fd = Fd::Buf(pick(&self.buf, buf)?);
                Call::Wait { fd, events, new }
            }
            Op::WaitSync { sync } => {
                room(self.waits.len())?;
                let fd = Fd::Sync(pick(&self.sync, sync)?);
                let events = Events::In;
                Call::Wait { fd, events, new }
            }
            Op::Unknown { file, number } => Call::Unknown { file: pick(&self.drm, file)?, number },
            Op::Fork => {
                (self.children.len() < 2).then_some(())?;
                Call::Fork { new }
            }
            Op::Kill { child } => Call::Kill { child: pick(&self.children, child)? },
            Op::Expire => {
                Call::Sleep { until: self.pending().map(|(_, last)| self.expired_by(last)).max()? }
            }
        })
    }

    fn map_part(&self, of: Fd, object: ObjectKey, how: Map, part: Part, new: Key) -> Call {
        let pages = self.objects[object].size / PAGE;
        // A part of one page more may be there.
        let (first, count) = parts(if how == Map::TooLong { 0 } else { part }, pages);
        Call::Map { of, object, first, count, how, new }
    }

    /// One of the files that are good, if there is one.
    fn pick_file(&self, nth: Nth, good: impl Fn(&File) -> bool) -> Option<Key> {
        let good: BTreeMap<Key, ()> = (self.drm.iter())
            .filter(|(_, file)| nth != OF_ALL && good(&self.files[**file]))
            .map(|(fd, _)| (*fd, ()))
            .collect();
        pick(&good, nth).or_else(|| pick(&self.drm, nth))
    }

    fn handle(&self, file: Nth, handle: Handle) -> Option<(Key, u32)> {
        let file = self.pick_file(file, |file| !file.handles.is_empty())?;
        Some((file, self.handle_of(file, handle)))
    }

    fn handle_of(&self, file: Key, handle: Handle) -> u32 {
        match handle {
            Handle::Held(nth) => pick_id(&self.file(file).handles, nth),
            Handle::Raw(handle) => handle,
        }
    }

    fn fd(&self, any: Any) -> Option<Fd> {
        Some(match any {
            Any::Buf(nth) => Fd::Buf(pick(&self.buf, nth)?),
            Any::Sync(nth) => Fd::Sync(pick(&self.sync, nth)?),
            Any::Drm(nth) => Fd::Drm(pick(&self.drm, nth)?),
            Any::None => Fd::None,
        })
    }

    /// Few places, so that they are met again, but in each page.
    fn at(&self, map: Key, at: u16) -> u64 {
        let there = self.maps[&map].there();
        let (at, pages) = (usize::from(at), there.len());
        there[at % pages] * PAGE + [0, 2, 2046, 4094][at / pages % 4]
    }

    fn file(&self, fd: Key) -> &File {
        &self.files[self.drm[&fd]]
    }

    fn file_mut(&mut self, fd: Key) -> &mut File {
        &mut self.files[self.drm[&fd]]
    }

    /// Somebody has the object, or something that leads to it.
    fn alive(&self, object: ObjectKey) -> bool {
        self.buf.values().any(|held| *held == object)
            || self.maps.values().any(|map| map.object == object)
            || self.children.values().any(|child| child.objects.contains(&object))
            || (self.files.iter()).any(|file| file.handles.values().any(|held| *held == object))
    }

    fn is_pending(&self, fence: FenceKey) -> bool {
        matches!(self.fences[fence], State::Pending(..))
    }

    fn pending(&self) -> impl Iterator<Item = (Time, Time)> + '_ {
        self.fences.iter().filter_map(|fence| match fence {
            State::Pending(first, last) => Some((*first, *last)),
            State::Signaled(..) => None,
        })
    }

    /// When a fence has expired for sure.
    fn expired_by(&self, last: Time) -> Time {
        last + TIMEOUT + self.driver.late()
    }

    /// Time when everything is clear again, if a fence is about to expire.
    pub fn unclear_until(&self, now: Time) -> Option<Time> {
        if self.is(Mutation::NoExpiry) {
            return None;
        }
        self.pending()
            .filter(|(first, _)| now + MARGIN >= first + TIMEOUT)
            .map(|(_, last)| self.expired_by(last))
            .max()
    }

    /// A fence may have expired while something was done.
    pub fn is_unclear(&self, now: Time) -> bool {
        !self.is(Mutation::NoExpiry)
            && (self.pending()).any(|(first, _)| now + self.driver.early() >= first + TIMEOUT)
    }

    /// Time has passed, and all that was about to expire has done so.
    fn expire(&mut self, now: Time) {
        if self.is(Mutation::NoExpiry) {
            return;
        }
        for fence in 0..self.fences.len() {
            if let State::Pending(first, last) = self.fences[fence] {
                if now >= self.expired_by(last) {
                    self.fences[fence] = State::Signaled(
                        first + TIMEOUT - self.driver.early(),
                        self.expired_by(last),
                    );
                    self.signaled += 1;
                    if self.is(Mutation::ExpiryForgets) {
                        for file in &mut self.files {
                            file.fences.retain(|_, held| *held != fence);
                        }
                    }
                }
            }
        }
    }

    fn signal(&mut self, fence: FenceKey, now: Time) {
        if self.is_pending(fence) {
            // The end is not known yet.
            self.fences[fence] = State::Signaled(now, Time::MAX);
            self.signaled += 1;
        }
    }

    fn put_file(&mut self, file: usize, now: Time) {
        self.files[file].refs -= 1;
        if self.files[file].refs == 0 {
            self.files[file].handles.clear();
            let fences = std::mem::take(&mut self.files[file].fences);
            if !self.is(Mutation::CloseForgets) {
                for fence in fences.into_values() {
                    self.signal(fence, now);
                }
            }
        }
    }

    fn new_handle(&mut self, file: Key, object: ObjectKey) -> u32 {
        let new = self.is(Mutation::HandlesAreNew);
        let file = self.file_mut(file);
        let handle = if new {
            file.last_handle + 1
        } else {
            (1..).find(|handle| !file.handles.contains_key(handle)).unwrap_or(0)
        };
        file.last_handle = file.last_handle.max(handle);
        file.handles.insert(handle, object);
        handle
    }

    /// Whether an object can be read and written, by its fences.
    fn idle(&self, object: ObjectKey) -> (bool, bool) {
        let pending = |write: bool| {
            (self.objects[object].fences.iter())
                .any(|(fence, used)| (!write || used.write) && self.is_pending(*fence))
        };
        (!pending(true), !pending(false))
    }

    fn sync_signaled(&self, sync: &Sync) -> bool {
        !sync.fences.keys().any(|fence| self.is_pending(*fence))
    }

    fn ready(&self, idle: (bool, bool), events: Events) -> Reply {
        Reply::Events { read: events.read() && idle.0, write: events.write() && idle.1 }
    }

    fn poll_buf(&self, object: ObjectKey, events: Events) -> Reply {
        let mut idle = self.idle(object);
        if self.is(Mutation::PollWaitsForReaders) {
            idle.0 = idle.1;
        }
        self.ready(idle, events)
    }

    fn poll(&self, fd: Fd, events: Events) -> Reply {
        match fd {
            Fd::Buf(buf) => self.poll_buf(self.buf[&buf], events),
            Fd::Sync(sync) => self.ready((self.sync_signaled(&self.sync[&sync]), false), events),
            Fd::Drm(_) | Fd::None => unreachable!("only DMA-BUFs and sync_files are polled"),
        }
    }

    /// The waits that are over, and what they have to return.
    pub fn over(&self) -> Vec<Key> {
        (self.waits.iter())
            .filter(|(_, wait)| {
                !matches!(self.waiter(wait), Reply::Events { read: false, write: false })
            })
            .map(|(key, _)| *key)
            .collect()
    }

    /// The waits that are not.
    pub fn waiting(&self) -> Vec<Key> {
        let over = self.over();
        (self.waits.keys().copied()).filter(|wait| !over.contains(wait)).collect()
    }

    fn waiter(&self, wait: &Waiter) -> Reply {
        match wait.fd {
            Waited::Buf(object) => self.poll_buf(object, wait.events),
            Waited::Sync(key) => {
                let done = self.sync_signaled(&self.waited[&key]);
                self.ready((done, false), wait.events)
            }
        }
    }

    /// What has to come back from a call at this time, and what then is.
    pub fn apply(&mut self, call: &Call, now: Time) -> Reply {
        if !matches!(call, Call::Join { .. }) {
            self.signaled = 0;
        }
        self.try_apply(call, now).unwrap_or_else(Reply::Fails)
    }

    /// The last call was over at this time.
    pub fn done(&mut self, now: Time) {
        for fence in &mut self.fences {
            match fence {
                State::Pending(_, last) | State::Signaled(_, last) if *last == Time::MAX => {
                    *last = now
                }
                _ => (),
            }
        }
    }

    fn try_apply(&mut self, call: &Call, now: Time) -> Result<Reply, Errno> {
        match *call {
            Call::Open { new, render } => {
                self.files.push(File {
                    render,
                    refs: 1,
                    handles: BTreeMap::new(),
                    last_handle: 0,
                    fences: BTreeMap::new(),
                    next: 1,
                });
                self.drm.insert(new, self.files.len() - 1);
            }

            Call::Dup { of, new } => match of {
                Fd::Drm(fd) => {
                    let file = self.drm[&fd];
                    self.files[file].refs += 1;
                    self.drm.insert(new, file);
                }
                Fd::Buf(fd) => {
                    self.buf.insert(new, self.buf[&fd]);
                }
                Fd::Sync(_) | Fd::None => unreachable!("never made"),
            },

            Call::Close { fd } => match fd {
                Fd::Drm(fd) => {
                    if let Some(file) = self.drm.remove(&fd) {
                        self.put_file(file, now);
                    }
                }
                Fd::Buf(fd) => {
                    self.buf.remove(&fd);
                }
                Fd::Sync(fd) => {
                    self.sync.remove(&fd);
                }
                Fd::None => unreachable!("never made"),
            },

            Call::Create { file, shape } => {
                if self.file(file).render {
                    return Err(Errno::EACCES);
                }
                let (pitch, size) = layout(shape).ok_or(Errno::EINVAL)?;
                self.objects.push(Object {
                    size,
                    offset: false,
                    words: BTreeMap::new(),
                    fences: BTreeMap::new(),
                    buf: None,
                });
                let handle = self.new_handle(file, self.objects.len() - 1);
                return Ok(Reply::Buffer { handle, pitch, size });
            }

            Call::GemClose { file, handle, dumb } => {
                let file = self.file_mut(file);
                if dumb && file.render {
                    return Err(Errno::EACCES);
                }
                file.handles.remove(&handle).ok_or(Errno::EINVAL)?;
            }

            Call::Offset { file, handle, .. } => {
                let file = self.file(file);
                if file.render {
                    return Err(Errno::EACCES);
                }
                let object = *file.handles.get(&handle).ok_or(Errno::ENOENT)?;
                self.objects[object].offset = true;
            }

            Call::Map { of, object, first, count, how, new } => {
                let mut file = None;
                let mut may_write = true;
                match of {
                    Fd::Drm(fd) => {
                        let held = self.file(fd).handles.values().any(|held| *held == object);
                        // Only the first page has an offset that leads to the object.
                        if how == Map::TooLong || first != 0 {
                            return Err(Errno::EINVAL);
                        }
                        if !held {
                            return Err(Errno::EACCES);
                        }
                        file = Some(self.drm[&fd]);
                    }
                    Fd::Buf(_) => {
                        may_write = self.objects[object].buf.is_some_and(|buf| buf.writable);
                        if !may_write && matches!(how, Map::ReadWrite | Map::TooLong) {
                            return Err(Errno::EACCES);
                        }
                        if how == Map::TooLong {
                            return Err(Errno::EINVAL);
                        }
                    }
                    Fd::Sync(_) | Fd::None => unreachable!("never made"),
                }
                if how == Map::Private {
                    return Err(Errno::EINVAL);
                }
                if let Some(file) = file.filter(|_| !self.is(Mutation::MapKeepsNothing)) {
                    self.files[file].refs += 1;
                }
                let first = if self.is(Mutation::OffsetIgnored) { 0 } else { first };
                let writable = how == Map::ReadWrite;
                let pages =
                    (first..first + count).map(|number| Some(Page { number, writable })).collect();
                self.maps.insert(new, Mapping { object, file, may_write, pages });
            }

            Call::Unmap { map } => self.unmap(map, now),

            Call::UnmapPart { map, first, count } => {
                let pages = &mut self.maps.get_mut(&map).ok_or(Errno::EINVAL)?.pages;
                pages[first as usize..(first + count) as usize].fill(None);
                if self.mutation == Some(Mutation::SplitBegins) {
                    let rest = pages[(first + count) as usize..].iter_mut().flatten();
                    rest.zip(0..).for_each(|(page, number)| page.number = number);
                }
                if self.maps[&map].there().is_empty() {
                    self.unmap(map, now);
                }
            }

            Call::Protect { map, first, count, write } => {
                let map = self.maps.get_mut(&map).ok_or(Errno::EINVAL)?;
                if write && !map.may_write {
                    return Err(Errno::EACCES);
                }
                for page in map.pages[first as usize..(first + count) as usize].iter_mut().flatten()
                {
                    page.writable = write;
                }
            }

            Call::Move { map: from, page, new } => {
                let map = self.maps.get_mut(&from).ok_or(Errno::EINVAL)?;
                let moved = Mapping { pages: vec![map.pages[page as usize].take()], ..map.clone() };
                if let Some(file) = moved.file.filter(|_| !self.is(Mutation::MapKeepsNothing)) {
                    self.files[file].refs += 1;
                }
                self.maps.insert(new, moved);
                if self.maps[&from].there().is_empty() {
                    self.unmap(from, now);
                }
            }

            Call::Read { map, at } => {
                let map = &self.maps[&map];
                let number = map.page(at).ok_or(Errno::EFAULT)?.number;
                let at = number * PAGE + at % PAGE;
                return Ok(Reply::Word(
                    self.objects[map.object].words.get(&at).copied().unwrap_or(0),
                ));
            }

            Call::Write { map, at, word } => {
                let map = &self.maps[&map];
                let number = map.page(at).ok_or(Errno::EFAULT)?.number;
                self.objects[map.object].words.insert(number * PAGE + at % PAGE, word);
            }

            Call::Export { file, handle, flags, new } => {
                let writable = nix::libc::O_RDWR as u32;
                if flags & !(writable | nix::libc::O_CLOEXEC as u32) != 0 {
                    return Err(Errno::EINVAL);
                }
                let object = *self.file(file).handles.get(&handle).ok_or(Errno::ENOENT)?;
                let made = &mut self.bufs_made;
                // There is only one for an object, with the flags of who was first.
                let buf = self.objects[object].buf.get_or_insert_with(|| {
                    *made += 1;
                    Buf { number: *made, writable: flags & writable != 0 }
                });
                self.buf.insert(new, object);
                return Ok(Reply::Buf(buf.number));
            }

            Call::Import { file, from } => {
                let object = match from {
                    Fd::Buf(fd) => self.buf[&fd],
                    Fd::None => return Err(Errno::EBADF),
                    _ => return Err(Errno::EINVAL),
                };
                let known = (self.file(file).handles.iter())
                    .find(|(_, held)| **held == object)
                    .filter(|_| !self.is(Mutation::ImportIsNew))
                    .map(|(handle, _)| *handle);
                let handle = match known {
                    Some(handle) => handle,
                    None => self.new_handle(file, object),
                };
                return Ok(Reply::Handle(handle));
            }

            Call::Attach { file, handle, flags, pad, form } => {
                let id = self.attach((file, handle), flags, pad, now);
                return match form {
                    Form::ReadOnly => Err(Errno::EFAULT),
                    Form::Short => id.map(|_| Reply::Done),
                    Form::Plain | Form::Long => id.map(Reply::Fence),
                };
            }

            Call::Signal { file, id, flags } => {
                if flags != 0 {
                    return Err(Errno::EINVAL);
                }
                let fence = self.file_mut(file).fences.remove(&id).ok_or(Errno::ENOENT)?;
                if !self.is_pending(fence) {
                    return Err(Errno::ETIMEDOUT);
                }
                self.signal(fence, now);
            }

            Call::SyncOut { buf, flags, new } => {
                if flags & !(READ | WRITE) != 0 || flags == 0 {
                    return Err(Errno::EINVAL);
                }
                let all = flags & WRITE != 0 || self.is(Mutation::SyncOutHasReaders);
                let fences = (self.objects[self.buf[&buf]].fences.iter())
                    .filter(|(fence, used)| (all || used.write) && self.is_pending(**fence))
                    .map(|(fence, used)| (*fence, used.times))
                    .collect();
                self.sync.insert(new, Sync { fences });
            }

            Call::SyncIn { buf, from, flags } => {
                if flags & !(READ | WRITE) != 0 || flags == 0 {
                    return Err(Errno::EINVAL);
                }
                let Fd::Sync(sync) = from else {
                    return Err(Errno::EINVAL);
                };
                let write = flags & WRITE != 0 && !self.is(Mutation::SyncInReads);
                for (fence, times) in self.sync[&sync].fences.clone() {
                    self.add(self.buf[&buf], fence, Use { write, times });
                }
            }

            Call::Merge { sync, with, flags, pad, new } => {
                if flags != 0 || pad != 0 {
                    return Err(Errno::EINVAL);
                }
                let Fd::Sync(with) = with else {
                    return Err(Errno::ENOENT);
                };
                let fences = [sync, with]
                    .iter()
                    .flat_map(|sync| self.sync[sync].fences.keys())
                    .filter(|fence| self.is_pending(**fence))
                    .map(|fence| (*fence, 1))
                    .collect();
                self.sync.insert(new, Sync { fences });
            }

            Call::Info { sync, room, flags } => {
                if flags != 0 {
                    return Err(Errno::EINVAL);
                }
                return self.info(&self.sync[&sync], room);
            }

            Call::Poll { fd, events } => return Ok(self.poll(fd, events)),

            Call::Wait { fd, events, new } => {
                let fd = match fd {
                    Fd::Buf(buf) => Waited::Buf(self.buf[&buf]),
                    Fd::Sync(sync) => {
                        self.waited.insert(new, self.sync[&sync].clone());
                        Waited::Sync(new)
                    }
                    Fd::Drm(_) | Fd::None => unreachable!("only DMA-BUFs and sync_files"),
                };
                self.waits.insert(new, Waiter { fd, events });
            }

            Call::Join { wait } => {
                let waiter = self.waits.remove(&wait).ok_or(Errno::ESRCH)?;
                let reply = self.waiter(&waiter);
                self.waited.remove(&wait);
                return Ok(match reply {
                    // It may have looked in between, even of one fence: it has a callback for each.
                    Reply::Events { read, write } if self.signaled > 0 => {
                        Reply::SomeOf { read, write }
                    }
                    reply => reply,
                });
            }

            Call::Unknown { .. } => return Err(Errno::EINVAL),

            Call::Fork { new } => {
                let mut files: Vec<_> = self.drm.values().copied().collect();
                let mut objects: Vec<_> = self.buf.values().copied().collect();
                for map in self.maps.values() {
                    objects.push(map.object);
                    files.extend(map.file.filter(|_| !self.is(Mutation::MapKeepsNothing)));
                }
                for file in &files {
                    self.files[*file].refs += 1;
                }
                self.children.insert(new, Child { files, objects });
            }

            Call::Kill { child } => {
                let child = self.children.remove(&child).ok_or(Errno::ESRCH)?;
                for file in child.files {
                    self.put_file(file, now);
                }
            }

            Call::Sleep { until } => self.expire(until),
        }
        Ok(Reply::Done)
    }

    fn unmap(&mut self, map: Key, now: Time) {
        let file = self.maps.remove(&map).and_then(|map| map.file);
        if let Some(file) = file.filter(|_| !self.is(Mutation::MapKeepsNothing)) {
            self.put_file(file, now);
        }
    }

    fn attach(
        &mut self,
        (fd, handle): (Key, u32),
        flags: u32,
        pad: u32,
        now: Time,
    ) -> Result<u32, Errno> {
        if flags & !1 != 0 || (pad != 0 && !self.is(Mutation::PadIgnored)) {
            return Err(Errno::EINVAL);
        }
        let object = *self.file(fd).handles.get(&handle).ok_or(Errno::ENOENT)?;
        let write = flags != 0;
        let (read_idle, write_idle) = self.idle(object);
        let idle = match (write, self.mutation) {
            (true, Some(Mutation::WritersIgnoreReaders)) => read_idle,
            (true, _) | (false, Some(Mutation::ReadersConflict)) => write_idle,
            (false, Some(Mutation::ReadersIgnoreWriters)) => true,
            (false, _) => read_idle,
        };
        if !idle {
            if self.is(Mutation::FailureTakesId) {
                self.file_mut(fd).next += 1;
            }
            return Err(Errno::EBUSY);
        }
        let fence = self.fences.len();
        // The end is not known yet.
        self.fences.push(State::Pending(now, Time::MAX));
        self.add(object, fence, Use { write, times: 1 });
        let file = self.file_mut(fd);
        let id = file.next;
        file.next += 1;
        file.fences.insert(id, fence);
        Ok(id)
    }

    fn add(&mut self, object: ObjectKey, fence: FenceKey, more: Use) {
        if self.is_pending(fence) {
            let used = self.objects[object].fences.entry(fence).or_default();
            used.write |= more.write;
            used.times = used.times.saturating_add(more.times);
        }
    }

    /// How many fences of some kind there are: at least, and at most.
    fn count(&self, sync: &Sync, what: impl Fn(FenceKey) -> bool) -> (u32, u32) {
        (sync.fences.iter())
            .filter(|(fence, _)| what(**fence))
            .fold((0, 0), |(least, most), (_, times)| {
                (least + 1, u32::saturating_add(most, *times))
            })
    }

    fn info(&self, sync: &Sync, room: u32) -> Result<Reply, Errno> {
        let signaled = self.sync_signaled(sync);
        let (mut all, mut done) =
            (self.count(sync, |_| true), self.count(sync, |fence| !self.is_pending(fence)));
        let active = self.count(sync, |fence| self.is_pending(fence));
        // One that is signalled stands for none.
        if sync.fences.is_empty() {
            (all, done) = ((1, 1), (1, 1));
        }
        let mut info = Info { signaled, active, done, when: None };
        if room == 0 {
            (info.active, info.done) = (all, (0, 0));
        } else if room < all.0 {
            return Err(Errno::EINVAL);
        } else if all == (1, 1) {
            let fence = sync.fences.keys().next().map(|fence| self.fences[*fence]);
            if let Some(State::Signaled(first, last)) = fence {
                info.when = Some((first, last));
            }
        }
        Ok(Reply::Info(info))
    }

    /// What is still open, in an order to close it in: by then, every fence is signalled.
    pub fn left(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        let polls = |calls: &mut Vec<Call>| {
            for buf in self.buf.keys() {
                for events in [Events::In, Events::Out, Events::InOut] {
                    let fd = Fd::Buf(*buf);
                    calls.push(Call::Poll { fd, events });
                }
            }
            for sync in self.sync.keys() {
                let (sync, fd, events) = (*sync, Fd::Sync(*sync), Events::In);
                calls.push(Call::Poll { fd, events });
                calls.push(Call::Info { sync, room: ROOM, flags: 0 });
            }
        };
        polls(&mut calls);
        for (map, mapping) in &self.maps {
            let map = *map;
            for (page, there) in mapping.pages.iter().enumerate() {
                let Some(there) = there else { continue };
                let words = there.number * PAGE..(there.number + 1) * PAGE;
                for (at, _) in self.objects[mapping.object].words.range(words) {
                    calls.push(Call::Read { map, at: page as u64 * PAGE + at % PAGE });
                }
            }
        }
        for child in self.children.keys() {
            calls.push(Call::Kill { child: *child });
        }
        for fd in self.drm.keys() {
            calls.push(Call::Close { fd: Fd::Drm(*fd) });
        }
        for map in self.maps.keys() {
            calls.push(Call::Unmap { map: *map });
        }
        polls(&mut calls);
        for fd in self.buf.keys() {
            calls.push(Call::Close { fd: Fd::Buf(*fd) });
        }
        for fd in self.sync.keys() {
            calls.push(Call::Close { fd: Fd::Sync(*fd) });
        }
        calls
    }
}

fn pick_id<V>(map: &BTreeMap<u32, V>, nth: Nth) -> u32 {
    let nth = usize::from(nth).checked_rem(map.len());
    // None has 1 then.
    nth.and_then(|nth| map.keys().nth(nth).copied()).unwrap_or(1)
}

/// The pitch and size of a buffer, or [`None`] if it can't be.
fn layout(shape: Shape) -> Option<(u32, u64)> {
    let bytes = shape.bpp.checked_add(7)? / 8;
    let pitch = shape.width.checked_mul(bytes)?;
    let size = pitch.checked_mul(shape.height).filter(|size| *size != 0)?;
    let size = u64::from(size).next_multiple_of(PAGE);
    (size <= u64::from(u32::MAX)).then_some((pitch, size))
}
