// SPDX-License-Identifier: GPL-2.0

//! Uses the mock GPU at random, and compares it with a model of SUBMIT and WAIT.
//!
//! Jobs end when they like, so the model knows only which can end. It keeps some from ending by
//! gates, fences of sw_sync that they wait for, directly or not: these have to be pending. Those
//! that can end have to, as soon as somebody waits for them.

mod kernel;
#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use nix::{errno::Errno, libc};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    kernel::open_files,
    op::Nth,
    search::{self, runner, Counts, Shrink},
    seq::Stop,
};

/// The most entries of each list of SUBMIT.
const MAX_COUNT: u32 = 64;
/// As many jobs wait behind the current one.
const RING: usize = 64;
/// A handle that no file has.
const NO_HANDLE: u32 = 0xfff;

/// What a random sequence is made of. Numbers are taken modulo what there is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Op {
    Open,
    Close {
        file: Nth,
    },
    Create {
        file: Nth,
        size: u64,
        pad: u32,
    },
    /// Gives a buffer to another file.
    Share {
        file: Nth,
        buffer: Nth,
        to: Nth,
    },
    GemClose {
        file: Nth,
        buffer: Nth,
    },
    Gate,
    OpenGate {
        gate: Nth,
    },
    SyncObj {
        file: Nth,
    },
    /// Gives a sync object to another file.
    ShareSyncObj {
        file: Nth,
        object: Nth,
        to: Nth,
    },
    Submit {
        file: Nth,
        buffers: Vec<(Pick, u32)>,
        waits: Vec<Sync>,
        signals: Vec<Sync>,
        flags: u32,
        time: Time,
        bad: Bad,
    },
    /// Submits jobs that wait for nothing, more than there is room for.
    Fill {
        file: Nth,
    },
    Wait {
        file: Nth,
        buffer: Pick,
        flags: u32,
        long: bool,
    },
    WaitSyncObj {
        file: Nth,
        object: Pick,
        point: Point,
        long: bool,
    },
    Status {
        sync: Nth,
    },
    /// Waits for a job that can end.
    Finish {
        sync: Nth,
    },
}

/// One that there is, or a bad handle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Pick {
    Nth(Nth),
    Bad,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Point {
    /// The sync object as it is.
    None,
    /// Of the last point, so much less, if there is one that low.
    Back(u8),
    /// So much more.
    Next(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Sync {
    File(Nth),
    /// A file descriptor that is none of a sync file.
    NoFile,
    Object(Pick, Point),
    /// A kind that does not exist.
    Unknown,
}

/// How long a job takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Time {
    None,
    Short,
    /// Longer than the watchdog allows.
    Hung,
    /// More than an `i64`.
    Bad,
}

/// What is wrong with the arguments of a SUBMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Bad {
    No,
    Flags,
    Pad,
    Waits,
    Signals,
    Buffers,
    TooManyWaits,
    TooManySignals,
    TooManyBuffers,
}

/// What names files, buffers and so on. The device knows their numbers in the kernel.
type Key = usize;

/// A call to the device.
#[derive(Clone, Debug)]
enum Call {
    Open {
        file: Key,
    },
    Close {
        file: Key,
    },
    Create {
        file: Key,
        size: u64,
        pad: u32,
        buffer: Key,
    },
    Share {
        file: Key,
        buffer: Key,
        to: Key,
    },
    GemClose {
        file: Key,
        buffer: Key,
    },
    Gate {
        sync: Key,
    },
    OpenGate {
        sync: Key,
    },
    CreateSyncObj {
        file: Key,
        object: Key,
    },
    ShareSyncObj {
        file: Key,
        object: Key,
        to: Key,
    },
    Submit(Submit),
    Wait {
        file: Key,
        buffer: Option<Key>,
        flags: u32,
        patience: Duration,
    },
    WaitSyncObj {
        file: Key,
        object: Option<Key>,
        point: u64,
        patience: Duration,
    },
    Status {
        sync: Key,
    },
    Finish {
        sync: Key,
    },
    /// Gives jobs that do not wait for what they have to the time to end.
    Pause,
}

impl Call {
    /// Whether it waits for what can end.
    fn is_long(&self) -> bool {
        match self {
            Self::Wait { patience, .. } | Self::WaitSyncObj { patience, .. } => *patience == LONG,
            Self::Finish { .. } => true,
            _ => false,
        }
    }
}

#[derive(Clone, Debug)]
struct Submit {
    file: Key,
    buffers: Vec<(Option<Key>, u32)>,
    waits: Vec<Source>,
    signals: Vec<Source>,
    /// The sync file that is returned, if one is wanted.
    sync: Option<Key>,
    time: Time,
    bad: Bad,
}

/// An entry of a list of SUBMIT.
#[derive(Clone, Debug)]
enum Source {
    File(Key),
    NoFile,
    Object(Option<Key>, u64),
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Done,
    Fails(Errno),
    /// Of a sync file: 0 if it is pending, 1, or an error below 0.
    Status(i32),
}

/// How long to wait for what can end, which then has to.
const LONG: Duration = Duration::from_secs(20);
/// How long to wait for what can't.
const SHORT: Duration = Duration::from_millis(3);
const PAUSE: Duration = Duration::from_millis(50);

trait Device {
    fn call(&mut self, call: &Call) -> Reply;
}

/// What the model is wrong about, to see that this is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    ReadersExclude,
    NoImplicit,
    NoExplicit,
    NoOrder,
    LowerPointsWait,
    ReplaceKeeps,
    ClosedIsDone,
    NoWatchdog,
    FailedSubmits,
    NoRing,
}

impl Mutation {
    #[cfg(test)]
    const ALL: [Self; 10] = [
        Self::ReadersExclude,
        Self::NoImplicit,
        Self::NoExplicit,
        Self::NoOrder,
        Self::LowerPointsWait,
        Self::ReplaceKeeps,
        Self::ClosedIsDone,
        Self::NoWatchdog,
        Self::FailedSubmits,
        Self::NoRing,
    ];
}

/// A fence: a gate, or that of a job.
#[derive(Clone, Default)]
struct Fence {
    gate: bool,
    /// The fences before it.
    waits: Vec<usize>,
    /// It has ended, with one of these.
    ended: Option<Vec<i32>>,
    hung: bool,
}

/// The fences of a buffer.
#[derive(Clone, Default)]
struct Buffer {
    writes: Vec<usize>,
    reads: Vec<usize>,
}

/// The fences in a sync object, in order, those of a timeline with their points.
type Links = Vec<(u64, usize)>;

#[derive(Clone)]
struct Model {
    mutation: Option<Mutation>,
    fences: Vec<Fence>,
    buffers: Vec<Buffer>,
    objects: Vec<Links>,
    /// Of each sync file, its fence.
    syncs: Vec<usize>,
    gates: Vec<Key>,
    files: Vec<File>,
}

#[derive(Clone, Default)]
struct File {
    closed: bool,
    /// The jobs, in order.
    jobs: Vec<usize>,
    handles: BTreeSet<Key>,
    objects: BTreeSet<Key>,
}

fn nth<T>(all: &[T], nth: Nth) -> Option<&T> {
    (!all.is_empty()).then(|| &all[usize::from(nth) % all.len()])
}

impl Model {
    fn new(mutation: Option<Mutation>) -> Self {
        Self {
            mutation,
            fences: Vec::new(),
            buffers: Vec::new(),
            objects: Vec::new(),
            syncs: Vec::new(),
            gates: Vec::new(),
            files: Vec::new(),
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    // What an operation means now.

    fn file(&self, file: Nth) -> Option<Key> {
        let open: Vec<Key> = (0..self.files.len()).filter(|&key| !self.files[key].closed).collect();
        nth(&open, file).copied()
    }

    fn buffer(&self, file: Key, pick: Pick) -> Option<Option<Key>> {
        match pick {
            Pick::Bad => Some(None),
            Pick::Nth(number) => {
                let all: Vec<Key> = self.files[file].handles.iter().copied().collect();
                nth(&all, number).map(|key| Some(*key))
            }
        }
    }

    fn object(&self, file: Key, pick: Pick) -> Option<Option<Key>> {
        match pick {
            Pick::Bad => Some(None),
            Pick::Nth(number) => {
                let all: Vec<Key> = self.files[file].objects.iter().copied().collect();
                nth(&all, number).map(|key| Some(*key))
            }
        }
    }

    fn point(&self, object: Option<Key>, point: Point) -> u64 {
        let last = object.and_then(|key| self.objects[key].last()).map_or(0, |link| link.0);
        match point {
            Point::None => 0,
            Point::Back(less) => last.saturating_sub(less.into()),
            Point::Next(more) => last + 1 + u64::from(more),
        }
    }

    fn source(&self, file: Key, sync: Sync) -> Option<Source> {
        Some(match sync {
            Sync::File(number) => {
                let all: Vec<Key> = (0..self.syncs.len()).collect();
                Source::File(*nth(&all, number)?)
            }
            Sync::NoFile => Source::NoFile,
            Sync::Unknown => Source::Unknown,
            Sync::Object(pick, point) => {
                let object = self.object(file, pick)?;
                Source::Object(object, self.point(object, point))
            }
        })
    }

    /// The calls that an operation stands for, if there is what it is about.
    fn calls(&self, op: &Op) -> Vec<Call> {
        self.try_calls(op).unwrap_or_default()
    }

    fn try_calls(&self, op: &Op) -> Option<Vec<Call>> {
        let sync = self.syncs.len();
        Some(vec![match *op {
            Op::Open => Call::Open { file: self.files.len() },
            Op::Close { file } => Call::Close { file: self.file(file)? },
            Op::Create { file, size, pad } => {
                Call::Create { file: self.file(file)?, size, pad, buffer: self.buffers.len() }
            }
            Op::Share { file, buffer, to } => {
                let file = self.file(file)?;
                let buffer = self.buffer(file, Pick::Nth(buffer))??;
                Call::Share { file, buffer, to: self.file(to)? }
            }
            Op::GemClose { file, buffer } => {
                let file = self.file(file)?;
                Call::GemClose { file, buffer: self.buffer(file, Pick::Nth(buffer))?? }
            }
            Op::Gate => Call::Gate { sync },
            Op::OpenGate { gate } => Call::OpenGate { sync: *nth(&self.gates, gate)? },
            Op::SyncObj { file } => {
                Call::CreateSyncObj { file: self.file(file)?, object: self.objects.len() }
            }
            Op::ShareSyncObj { file, object, to } => {
                let file = self.file(file)?;
                let object = self.object(file, Pick::Nth(object))??;
                Call::ShareSyncObj { file, object, to: self.file(to)? }
            }
            Op::Submit { file, ref buffers, ref waits, ref signals, flags, time, bad } => {
                let file = self.file(file)?;
                let find = |&(pick, flags)| Some((self.buffer(file, pick)?, flags));
                let source = |&sync| self.source(file, sync);
                let mut submit = Submit {
                    file,
                    buffers: buffers.iter().filter_map(find).collect(),
                    waits: waits.iter().filter_map(source).collect(),
                    signals: signals.iter().filter_map(source).collect(),
                    sync: (flags != 0).then_some(sync),
                    time,
                    bad,
                };
                // The points of a timeline go up.
                let mut seen = BTreeSet::new();
                submit.signals.retain(|signal| match *signal {
                    Source::Object(Some(key), point) => {
                        let last = self.objects[key].last().map_or(0, |link| link.0);
                        seen.insert(key) && (point == 0 || point > last)
                    }
                    _ => true,
                });
                Call::Submit(submit)
            }
            Op::Fill { file } => {
                let file = self.file(file)?;
                let job = Submit {
                    file,
                    buffers: Vec::new(),
                    waits: Vec::new(),
                    signals: Vec::new(),
                    sync: Some(sync),
                    time: Time::None,
                    bad: Bad::No,
                };
                // Only jobs that don't end have to fill the ring.
                (!self.files[file].jobs.iter().all(|&job| self.can_end(job))).then_some(())?;
                return Some(vec![Call::Submit(job); RING + 6]);
            }
            Op::Wait { file, buffer, flags, long } => {
                let file = self.file(file)?;
                let buffer = self.buffer(file, buffer)?;
                let fences = buffer.map_or(Vec::new(), |key| self.users(key, flags != 0));
                Call::Wait { file, buffer, flags, patience: self.patience(&fences, long) }
            }
            Op::WaitSyncObj { file, object, point, long } => {
                let file = self.file(file)?;
                let object = self.object(file, object)?;
                let point = self.point(object, point);
                let fences = object.and_then(|key| self.links(key, point)).unwrap_or_default();
                let patience = self.patience(&fences, long);
                Call::WaitSyncObj { file, object, point, patience }
            }
            Op::Status { sync } => {
                let all: Vec<Key> = (0..self.syncs.len()).collect();
                Call::Status { sync: *nth(&all, sync)? }
            }
            Op::Finish { sync } => {
                let can: Vec<Key> =
                    (0..self.syncs.len()).filter(|&key| self.can_end(self.syncs[key])).collect();
                Call::Finish { sync: *nth(&can, sync)? }
            }
        }])
    }

    // What is known of fences.

    fn patience(&self, fences: &[usize], long: bool) -> Duration {
        match long {
            true if self.all_can_end(fences) => LONG,
            true => SHORT,
            false => Duration::ZERO,
        }
    }

    /// The fences that one who reads or writes a buffer waits for.
    fn users(&self, buffer: Key, write: bool) -> Vec<usize> {
        let Buffer { writes, reads } = &self.buffers[buffer];
        let also = reads.iter().filter(|_| write || self.is(Mutation::ReadersExclude));
        writes.iter().chain(also).copied().collect()
    }

    fn can_end(&self, fence: usize) -> bool {
        // Fences wait for older ones only.
        let mut can = vec![false; fence + 1];
        for n in 0..=fence {
            let of = &self.fences[n];
            can[n] = of.ended.is_some() || !of.gate && of.waits.iter().all(|&wait| can[wait]);
        }
        can[fence]
    }

    fn all_can_end(&self, fences: &[usize]) -> bool {
        fences.iter().all(|&fence| self.can_end(fence))
    }

    fn have_ended(&self, fences: &[usize]) -> bool {
        fences.iter().all(|&fence| self.fences[fence].ended.is_some())
    }

    /// What a job that ends by itself ends with.
    fn status(&self, fence: usize) -> i32 {
        if self.fences[fence].hung && !self.is(Mutation::NoWatchdog) {
            -libc::ETIME
        } else {
            1
        }
    }

    /// A fence was seen to be signaled, and so were those that it waits for.
    fn end(&mut self, fence: usize) {
        let mut all = vec![fence];
        while let Some(fence) = all.pop() {
            if self.fences[fence].ended.is_none() {
                self.fences[fence].ended = Some(vec![self.status(fence)]);
                all.extend(&self.fences[fence].waits);
            }
        }
    }

    /// The replies that a wait for these may have, and what is known after it.
    fn wait(&mut self, fences: &[usize], patience: Duration, late: Errno) -> Vec<Reply> {
        if !self.all_can_end(fences) {
            return vec![Reply::Fails(late)];
        }
        if patience == LONG {
            fences.iter().for_each(|&fence| self.end(fence));
        }
        if self.have_ended(fences) {
            return vec![Reply::Done];
        }
        vec![Reply::Done, Reply::Fails(late)]
    }

    /// The fences that a point of a sync object waits for, if it is there.
    fn links(&self, object: Key, point: u64) -> Option<Vec<usize>> {
        let links = &self.objects[object];
        let until = match point {
            0 => links.len().checked_sub(1)?,
            _ if links.last()?.0 < point => return None,
            _ => links.iter().position(|link| link.0 >= point)?,
        };
        let first = if self.is(Mutation::LowerPointsWait) { until } else { 0 };
        Some(links[first..=until].iter().map(|link| link.1).collect())
    }

    /// Which replies a call may have, and what it changes.
    fn apply(&mut self, call: &Call) -> Vec<Reply> {
        let done = vec![Reply::Done];
        let fails = |error| vec![Reply::Fails(error)];
        match *call {
            Call::Open { .. } => {
                self.files.push(File::default());
                done
            }
            Call::Close { file } => {
                let jobs = std::mem::take(&mut self.files[file].jobs);
                let can: Vec<bool> = jobs.iter().map(|&job| self.can_end(job)).collect();
                for (job, can) in jobs.into_iter().zip(can) {
                    let mut ends = vec![-libc::ECANCELED];
                    if can || self.is(Mutation::ClosedIsDone) {
                        ends.push(self.status(job));
                    }
                    if self.is(Mutation::ClosedIsDone) {
                        ends.remove(0);
                    }
                    self.fences[job].ended.get_or_insert(ends);
                }
                self.files[file] = File { closed: true, ..File::default() };
                done
            }
            Call::Create { size, pad, .. } if size == 0 || size > i64::MAX as u64 || pad != 0 => {
                fails(Errno::EINVAL)
            }
            Call::Create { file, buffer, .. } => {
                self.buffers.push(Buffer::default());
                self.files[file].handles.insert(buffer);
                done
            }
            Call::Share { buffer, to, .. } => {
                self.files[to].handles.insert(buffer);
                done
            }
            Call::GemClose { file, buffer } => {
                self.files[file].handles.remove(&buffer);
                done
            }
            Call::Gate { sync } => {
                self.gates.push(sync);
                self.syncs.push(self.fences.len());
                self.fences.push(Fence { gate: true, ..Fence::default() });
                done
            }
            Call::OpenGate { sync } => {
                self.fences[self.syncs[sync]].ended = Some(vec![1]);
                done
            }
            Call::CreateSyncObj { file, object } => {
                self.objects.push(Links::new());
                self.files[file].objects.insert(object);
                done
            }
            Call::ShareSyncObj { object, to, .. } => {
                self.files[to].objects.insert(object);
                done
            }
            Call::Submit(ref submit) => self.submit(submit),
            Call::Wait { flags, .. } if flags & !1 != 0 => fails(Errno::EINVAL),
            Call::Wait { buffer: None, .. } => fails(Errno::ENOENT),
            Call::Wait { buffer: Some(buffer), flags, patience, .. } => {
                let fences = self.users(buffer, flags != 0);
                self.wait(&fences, patience, Errno::ETIMEDOUT)
            }
            Call::WaitSyncObj { object: None, .. } => fails(Errno::ENOENT),
            Call::WaitSyncObj { object: Some(object), point, patience, .. } => {
                match self.links(object, point) {
                    Some(fences) => self.wait(&fences, patience, Errno::ETIME),
                    None => fails(Errno::EINVAL),
                }
            }
            Call::Status { sync } => {
                let fence = self.syncs[sync];
                let may = match &self.fences[fence].ended {
                    Some(ended) => ended.clone(),
                    None if self.can_end(fence) => vec![0, self.status(fence)],
                    None => vec![0],
                };
                may.into_iter().map(Reply::Status).collect()
            }
            Call::Finish { sync } => {
                let fence = self.syncs[sync];
                self.end(fence);
                let ended = self.fences[fence].ended.iter().flatten();
                ended.map(|&status| Reply::Status(status)).collect()
            }
            Call::Pause => done,
        }
    }

    /// What a reply shows.
    fn learn(&mut self, call: &Call, reply: Reply) {
        let fences = match (call, reply) {
            (Call::Status { sync } | Call::Finish { sync }, Reply::Status(status)) => {
                if status != 0 {
                    let fence = self.syncs[*sync];
                    self.end(fence);
                    self.fences[fence].ended = Some(vec![status]);
                }
                return;
            }
            (&Call::Wait { buffer: Some(buffer), flags, .. }, Reply::Done) => {
                self.users(buffer, flags != 0)
            }
            (&Call::WaitSyncObj { object: Some(object), point, .. }, Reply::Done) => {
                self.links(object, point).unwrap_or_default()
            }
            _ => return,
        };
        fences.into_iter().for_each(|fence| self.end(fence));
    }

    /// The fences that a list waits for, or what is wrong with it.
    fn explicit(&self, submit: &Submit) -> Result<Vec<usize>, Errno> {
        match submit.bad {
            Bad::TooManyWaits => return Err(Errno::EINVAL),
            Bad::Waits => return Err(Errno::EFAULT),
            _ => (),
        }
        let mut fences = Vec::new();
        for wait in &submit.waits {
            match *wait {
                Source::File(sync) => fences.push(self.syncs[sync]),
                Source::Object(None, _) => return Err(Errno::ENOENT),
                Source::Object(Some(object), point) => {
                    fences.extend(self.links(object, point).ok_or(Errno::EINVAL)?);
                }
                Source::NoFile | Source::Unknown => return Err(Errno::EINVAL),
            }
        }
        Ok(fences)
    }

    fn check_signals(&self, submit: &Submit) -> Result<(), Errno> {
        match submit.bad {
            Bad::TooManySignals => return Err(Errno::EINVAL),
            Bad::Signals => return Err(Errno::EFAULT),
            _ => (),
        }
        submit.signals.iter().try_for_each(|signal| match signal {
            Source::Object(Some(_), _) => Ok(()),
            Source::Object(None, _) => Err(Errno::ENOENT),
            _ => Err(Errno::EINVAL),
        })
    }

    fn submit(&mut self, submit: &Submit) -> Vec<Reply> {
        let early = matches!(submit.bad, Bad::Flags | Bad::Pad) || submit.time == Time::Bad;
        let waits = if early { Err(Errno::EINVAL) } else { self.explicit(submit) };
        let waits = waits.and_then(|waits| self.check_signals(submit).map(|()| waits));
        let mut waits = match (waits, submit.bad) {
            (Err(error), _) => return vec![Reply::Fails(error)],
            (_, Bad::TooManyBuffers) => return vec![Reply::Fails(Errno::EINVAL)],
            (_, Bad::Buffers) => return vec![Reply::Fails(Errno::EFAULT)],
            (Ok(waits), _) => waits,
        };
        // The order in which they are looked at is not said.
        let bad: Vec<Reply> = (submit.buffers.iter())
            .filter_map(|&(buffer, flags)| match buffer {
                None => Some(Errno::ENOENT),
                Some(_) => (flags & !1 != 0).then_some(Errno::EINVAL),
            })
            .map(Reply::Fails)
            .collect();
        if !bad.is_empty() && !self.is(Mutation::FailedSubmits) {
            return bad;
        }

        let jobs = &self.files[submit.file].jobs;
        let left = jobs.iter().filter(|&&job| self.fences[job].ended.is_none()).count();
        let stuck = jobs.iter().filter(|&&job| !self.can_end(job)).count();
        // The first of them is current, or soon will be.
        let full = Reply::Fails(Errno::EBUSY);
        let may = match (stuck > RING, left >= RING) {
            _ if self.is(Mutation::NoRing) => vec![Reply::Done],
            (true, _) => return vec![full],
            (false, true) => vec![Reply::Done, full],
            (false, false) => vec![Reply::Done],
        };

        if self.is(Mutation::NoExplicit) {
            waits.clear();
        }
        waits.extend(jobs.last().filter(|_| !self.is(Mutation::NoOrder)));
        let fence = self.fences.len();
        let written: BTreeSet<Key> = (submit.buffers.iter())
            .filter(|(_, flags)| *flags != 0)
            .filter_map(|(buffer, _)| *buffer)
            .collect();
        let used: BTreeSet<Key> = submit.buffers.iter().filter_map(|(buffer, _)| *buffer).collect();
        for buffer in used {
            let write = written.contains(&buffer);
            if !self.is(Mutation::NoImplicit) {
                waits.extend(self.users(buffer, write));
            }
            let of = &mut self.buffers[buffer];
            if write { &mut of.writes } else { &mut of.reads }.push(fence);
        }
        for signal in &submit.signals {
            if let Source::Object(Some(object), point) = *signal {
                if point == 0 && !self.is(Mutation::ReplaceKeeps) {
                    self.objects[object].clear();
                }
                self.objects[object].push((point, fence));
            }
        }
        self.fences.push(Fence { waits, hung: submit.time == Time::Hung, ..Fence::default() });
        self.files[submit.file].jobs.push(fence);
        if submit.sync.is_some() {
            self.syncs.push(fence);
        }
        may
    }
}

/// Runs a sequence, opens all gates, waits for all jobs, and closes everything.
fn run(device: &mut impl Device, mutation: Option<Mutation>, ops: &[Op]) -> Run {
    let mut run = Run::new(mutation);
    run.wrong = run.all(device, ops).err();
    run
}

struct Run {
    model: Model,
    calls: u64,
    trace: String,
    wrong: Option<String>,
    /// The machine was so slow that nothing can be said.
    slow: bool,
}

impl Run {
    fn new(mutation: Option<Mutation>) -> Self {
        let model = Model::new(mutation);
        Self { model, calls: 0, trace: String::new(), wrong: None, slow: false }
    }

    fn all(&mut self, device: &mut impl Device, ops: &[Op]) -> Result<(), String> {
        for op in ops {
            for call in self.model.calls(op) {
                self.check(device, call)?;
            }
        }
        self.check(device, Call::Pause)?;
        for sync in 0..self.model.syncs.len() {
            if !self.model.can_end(self.model.syncs[sync]) {
                self.check(device, Call::Status { sync })?;
            }
        }
        for sync in self.model.gates.clone() {
            self.check(device, Call::OpenGate { sync })?;
        }
        for sync in 0..self.model.syncs.len() {
            self.check(device, Call::Finish { sync })?;
        }
        for file in 0..self.model.files.len() {
            if !self.model.files[file].closed {
                self.check(device, Call::Close { file })?;
            }
        }
        Ok(())
    }

    fn check(&mut self, device: &mut impl Device, mut call: Call) -> Result<(), String> {
        if let Call::Submit(Submit { sync: Some(sync), .. }) = &mut call {
            // One before it may have failed.
            *sync = self.model.syncs.len();
        }
        let before = self.model.clone();
        let may = self.model.apply(&call);
        let reply = device.call(&call);
        if matches!((&call, reply), (Call::Submit(_), Reply::Fails(_))) {
            // A SUBMIT that fails leaves nothing behind.
            self.model = before;
        }
        self.calls += 1;
        let _ = writeln!(self.trace, "  {call:?} -> {reply:?}");
        if may.contains(&reply) {
            self.model.learn(&call, reply);
            return Ok(());
        }
        if call.is_long() && may.contains(&device.call(&call)) {
            self.slow = true;
        }
        Err(format!("{call:?} returned {reply:?}, and not one of {may:?}"))
    }
}

// Which sequences there are.

fn pick() -> impl Strategy<Value = Pick> + Clone {
    prop_oneof![19 => any::<Nth>().prop_map(Pick::Nth), 1 => Just(Pick::Bad)]
}

fn point() -> impl Strategy<Value = Point> + Clone {
    prop_oneof![
        2 => Just(Point::None),
        3 => (0..3u8).prop_map(Point::Back),
        3 => (0..3u8).prop_map(Point::Next),
    ]
}

fn wait() -> impl Strategy<Value = Sync> + Clone {
    prop_oneof![
        20 => any::<Nth>().prop_map(Sync::File),
        20 => (pick(), point()).prop_map(|(object, point)| Sync::Object(object, point)),
        1 => Just(Sync::NoFile),
        1 => Just(Sync::Unknown),
    ]
}

fn signal() -> impl Strategy<Value = Sync> + Clone {
    prop_oneof![
        30 => (pick(), point()).prop_map(|(object, point)| Sync::Object(object, point)),
        1 => any::<Nth>().prop_map(Sync::File),
        1 => Just(Sync::Unknown),
    ]
}

fn use_of_buffer() -> impl Strategy<Value = (Pick, u32)> + Clone {
    (pick(), prop_oneof![20 => 0..2u32, 1 => Just(2u32), 1 => Just(1 << 31)])
}

fn submit() -> impl Strategy<Value = Op> + Clone {
    let time = prop_oneof![20 => Just(Time::None), 10 => Just(Time::Short), 1 => Just(Time::Hung), 1 => Just(Time::Bad)];
    let bad = prop_oneof![
        60 => Just(Bad::No),
        1 => Just(Bad::Flags),
        1 => Just(Bad::Pad),
        1 => Just(Bad::Waits),
        1 => Just(Bad::Signals),
        1 => Just(Bad::Buffers),
        1 => Just(Bad::TooManyWaits),
        1 => Just(Bad::TooManySignals),
        1 => Just(Bad::TooManyBuffers),
    ];
    (
        any::<Nth>(),
        prop::collection::vec(use_of_buffer(), 0..5),
        prop::collection::vec(wait(), 0..4),
        prop::collection::vec(signal(), 0..4),
        prop_oneof![7 => Just(1u32), 1 => Just(0)],
        time,
        bad,
    )
        .prop_map(|(file, buffers, waits, signals, flags, time, bad)| Op::Submit {
            file,
            buffers,
            waits,
            signals,
            flags,
            time,
            bad,
        })
}

fn op() -> impl Strategy<Value = Op> + Clone {
    let size = prop_oneof![20 => 1..20000u64, 1 => Just(0u64), 1 => Just(u64::MAX)];
    prop_oneof![
        3 => Just(Op::Open),
        2 => any::<Nth>().prop_map(|file| Op::Close { file }),
        5 => (any::<Nth>(), size, prop_oneof![20 => Just(0u32), 1 => Just(1)])
            .prop_map(|(file, size, pad)| Op::Create { file, size, pad }),
        4 => any::<(Nth, Nth, Nth)>()
            .prop_map(|(file, buffer, to)| Op::Share { file, buffer, to }),
        1 => any::<(Nth, Nth)>().prop_map(|(file, buffer)| Op::GemClose { file, buffer }),
        4 => Just(Op::Gate),
        3 => any::<Nth>().prop_map(|gate| Op::OpenGate { gate }),
        3 => any::<Nth>().prop_map(|file| Op::SyncObj { file }),
        2 => any::<(Nth, Nth, Nth)>()
            .prop_map(|(file, object, to)| Op::ShareSyncObj { file, object, to }),
        30 => submit(),
        1 => any::<Nth>().prop_map(|file| Op::Fill { file }),
        15 => (any::<Nth>(), pick(), prop_oneof![20 => 0..2u32, 1 => Just(2u32)], any::<bool>())
            .prop_map(|(file, buffer, flags, long)| Op::Wait { file, buffer, flags, long }),
        8 => (any::<Nth>(), pick(), point(), any::<bool>())
            .prop_map(|(file, object, point, long)| Op::WaitSyncObj { file, object, point, long }),
        15 => any::<Nth>().prop_map(|sync| Op::Status { sync }),
        4 => any::<Nth>().prop_map(|sync| Op::Finish { sync }),
    ]
}

fn sequence() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 0..120).prop_map(|more| {
        let create = Op::Create { file: 0, size: 4096, pad: 0 };
        let mut ops = vec![Op::Open, create.clone(), create, Op::Open, Op::Gate];
        ops.push(Op::SyncObj { file: 0 });
        ops.push(Op::Share { file: 0, buffer: 0, to: 1 });
        ops.push(Op::ShareSyncObj { file: 0, object: 0, to: 1 });
        ops.extend(more);
        ops
    })
}

/// One sequence on the device.
fn on_device(ops: &[Op]) -> Run {
    let before = open_files();
    let mut run = match kernel::Kernel::new() {
        Ok(mut kernel) => run(&mut kernel, None, ops),
        Err(why) => return Run { wrong: Some(why), ..Run::new(None) },
    };
    let after = open_files();
    if before != after {
        let why = format!("{after} files are open at the end, {before} were before");
        run.wrong.get_or_insert(why);
    }
    run
}

/// Runs sequences until time is up or one goes wrong.
fn search(time: Duration, seed: u64, out: &Path) -> Result<(), String> {
    let end = Instant::now() + time;
    let counts = Cell::new(Counts::default());
    let mut told = Instant::now();
    for seed in (seed..).take_while(|_| Instant::now() < end) {
        let mut runner = runner(seed, Shrink::SHORT);
        let tree = sequence().new_tree(&mut runner).map_err(|error| error.to_string())?;
        let found = search::shrink(&mut runner, tree, |ops| {
            let run = on_device(ops);
            let mut now = counts.get();
            now.runs += 1;
            now.calls += run.calls;
            now.slow += u64::from(run.slow);
            counts.set(now);
            match run.wrong {
                Some(_) if run.slow => Err(Stop::Slow),
                Some(why) => Err(Stop::Wrong(why)),
                None => Ok(()),
            }
        });
        if let Some((why, ops)) = found {
            let file = out.join(format!("mockgpu-{seed}.json"));
            let text = search::to_text(&ops);
            let saved = fs::write(&file, &text)
                .map_or_else(|error| error.to_string(), |()| file.display().to_string());
            return Err(format!(
                "mockgpu: seed {seed} goes wrong: {why}\n\
                 The shortest sequence that was found, also in {saved}:\n{text}\
                 What it does:\n{}",
                on_device(&ops).trace
            ));
        }
        if told.elapsed().as_secs() >= 15 {
            println!("fuzz: Mockgpu: {}, seed {seed}", counts.get());
            told = Instant::now();
        }
    }
    println!("fuzz: mockgpu: sequences: {}", counts.get());
    Ok(())
}

fn replay(file: &Path) -> Result<(), String> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    let ops: Vec<Op> = serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    let run = on_device(&ops);
    run.wrong.map_or(Ok(()), |why| Err(format!("{name} goes wrong: {why}\n{}", run.trace)))
}

/// `fuzz mockgpu …`.
pub fn main(args: &[&str]) -> Option<Result<(), String>> {
    match *args {
        ["replay", ref files @ ..] => {
            let result = files.iter().try_for_each(|file| replay(Path::new(file)));
            Some(result.map(|()| {
                println!("fuzz: mockgpu: {} sequences found before: good", files.len());
            }))
        }
        ["all", seconds, seed, out] => {
            let time = Duration::from_secs(seconds.parse().ok()?);
            Some(search(time, seed.parse().ok()?, Path::new(out)))
        }
        _ => None,
    }
}
