// SPDX-License-Identifier: GPL-2.0

//! The mock GPU, by system calls.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    os::fd::{AsRawFd, OwnedFd},
    thread,
    time::Duration,
};

use nix::{errno::Errno, libc};

use super::{
    Bad, Call, Device, Key, Reply, Source, Submit, Time, LONG, MAX_COUNT, NO_HANDLE, PAUSE,
};
use crate::{
    kernel::{self, args, ioctl, iow, iowr, new_fd, now, Args, Nodes},
    op::Events,
};

args! {
    struct Create { size: u64, handle: u32, pad: u32 }
    struct BufferUse { handle: u32, flags: u32 }
    struct SyncPoint { kind: u32, handle: u32, point: u64 }
    struct SubmitArgs {
        buffers: u64, waits: u64, signals: u64,
        buffer_count: u32, wait_count: u32, signal_count: u32, flags: u32,
        duration: u64, sync_file: u32, pad: u32,
    }
    struct Wait { handle: u32, flags: u32, timeout: i64 }
    struct SyncObjCreate { handle: u32, flags: u32 }
    struct SyncObjHandle { handle: u32, flags: u32, fd: i32, pad: u32, point: u64 }
    struct SyncObjWait {
        handles: u64, points: u64, timeout: i64, count: u32, flags: u32, first: u32, pad: u32,
        deadline: u64,
    }
    struct SwSyncFence { value: u32, name: [u8; 32], fence: i32 }
    struct SwSyncInc { value: u32 }
}

const CREATE: libc::c_ulong = iowr(b'd', 0x40, size_of::<Create>());
const SUBMIT: libc::c_ulong = iowr(b'd', 0x41, size_of::<SubmitArgs>());
const WAIT: libc::c_ulong = iow(b'd', 0x42, size_of::<Wait>());
const SYNCOBJ_CREATE: libc::c_ulong = iowr(b'd', 0xbf, size_of::<SyncObjCreate>());
const SYNCOBJ_TO_FD: libc::c_ulong = iowr(b'd', 0xc1, size_of::<SyncObjHandle>());
const SYNCOBJ_FROM_FD: libc::c_ulong = iowr(b'd', 0xc2, size_of::<SyncObjHandle>());
const SYNCOBJ_WAIT: libc::c_ulong = iowr(b'd', 0xca, size_of::<SyncObjWait>());
const SW_SYNC_FENCE: libc::c_ulong = iowr(b'W', 0, size_of::<SwSyncFence>());
const SW_SYNC_INC: libc::c_ulong = iow(b'W', 1, size_of::<SwSyncInc>());

const SW_SYNC: &str = "/sys/kernel/debug/sync/sw_sync";

/// Where nothing is mapped.
const NOWHERE: u64 = 8;

/// The device, and what was opened there.
pub struct Kernel {
    nodes: Nodes,
    null: OwnedFd,
    files: BTreeMap<Key, OwnedFd>,
    /// By file and buffer; the next by file and sync object.
    handles: BTreeMap<(Key, Key), u32>,
    objects: BTreeMap<(Key, Key), u32>,
    syncs: BTreeMap<Key, OwnedFd>,
    /// Timelines of sw_sync, by the sync file of their fence.
    gates: BTreeMap<Key, OwnedFd>,
}

impl Kernel {
    pub fn new() -> Result<Self, String> {
        Ok(Self {
            nodes: Nodes::find("rust_mockgpu")?,
            null: File::open("/dev/null").map_err(|error| error.to_string())?.into(),
            files: BTreeMap::new(),
            handles: BTreeMap::new(),
            objects: BTreeMap::new(),
            syncs: BTreeMap::new(),
            gates: BTreeMap::new(),
        })
    }

    fn handle(&self, file: Key, buffer: Option<Key>) -> u32 {
        buffer.map_or(NO_HANDLE, |buffer| self.handles[&(file, buffer)])
    }

    fn object(&self, file: Key, object: Option<Key>) -> u32 {
        object.map_or(NO_HANDLE, |object| self.objects[&(file, object)])
    }

    fn point(&self, file: Key, source: &Source) -> SyncPoint {
        let (kind, handle, point) = match *source {
            Source::File(sync) => (0, self.syncs[&sync].as_raw_fd() as u32, 0),
            Source::NoFile => (0, self.null.as_raw_fd() as u32, 0),
            Source::Object(object, point) => (1, self.object(file, object), point),
            Source::Unknown => (2, 0, 0),
        };
        SyncPoint { kind, handle, point }
    }

    fn submit(&mut self, submit: &Submit) -> Result<(), Errno> {
        let buffers: Vec<_> = (submit.buffers.iter())
            .map(|&(buffer, flags)| BufferUse { handle: self.handle(submit.file, buffer), flags })
            .collect();
        let points = |list: &[Source]| -> Vec<_> {
            list.iter().map(|one| self.point(submit.file, one)).collect()
        };
        let (waits, signals) = (points(&submit.waits), points(&submit.signals));
        let list = |address: u64, count: usize, fault: Bad, many: Bad| match submit.bad {
            bad if bad == fault => (NOWHERE, 1),
            bad if bad == many => (address, MAX_COUNT + 1),
            _ => (address, count as u32),
        };
        let (buffers, buffer_count) =
            list(buffers.as_ptr() as u64, buffers.len(), Bad::Buffers, Bad::TooManyBuffers);
        let (waits, wait_count) =
            list(waits.as_ptr() as u64, waits.len(), Bad::Waits, Bad::TooManyWaits);
        let (signals, signal_count) =
            list(signals.as_ptr() as u64, signals.len(), Bad::Signals, Bad::TooManySignals);
        let mut args = SubmitArgs {
            buffers,
            waits,
            signals,
            buffer_count,
            wait_count,
            signal_count,
            flags: u32::from(submit.sync.is_some()) | u32::from(submit.bad == Bad::Flags) << 7,
            duration: match submit.time {
                Time::None => 0,
                Time::Short => 1_000_000,
                Time::Hung => 1 << 40,
                Time::Bad => 1 << 63,
            },
            sync_file: u32::MAX,
            pad: u32::from(submit.bad == Bad::Pad),
        };
        ioctl(&self.files[&submit.file], SUBMIT, &mut args)?;
        if let Some(sync) = submit.sync {
            self.syncs.insert(sync, new_fd(args.sync_file as i32).ok_or(Errno::EBADF)?);
        }
        Ok(())
    }

    fn finish(&self, sync: Key) -> Result<i32, Errno> {
        let _ = kernel::ready(&self.syncs[&sync], Events::In, Some(LONG.as_millis() as u16));
        kernel::status(&self.syncs[&sync])
    }

    fn try_call(&mut self, call: &Call) -> Result<Option<i32>, Errno> {
        match *call {
            Call::Open { file } => {
                self.files.insert(file, self.nodes.open(true)?);
            }
            Call::Close { file } => {
                self.files.remove(&file);
            }
            Call::Create { file, size, pad, buffer } => {
                let mut args = Create { size, handle: 0, pad };
                ioctl(&self.files[&file], CREATE, &mut args)?;
                self.handles.insert((file, buffer), args.handle);
            }
            Call::Share { file, buffer, to } => {
                let flags = (libc::O_CLOEXEC | libc::O_RDWR) as u32;
                let handle = self.handle(file, Some(buffer));
                let fd = kernel::export(&self.files[&file], handle, flags)?.ok_or(Errno::EBADF)?;
                let handle = kernel::import(&self.files[&to], fd.as_raw_fd())?;
                self.handles.insert((to, buffer), handle);
            }
            Call::GemClose { file, buffer } => {
                kernel::gem_close(&self.files[&file], self.handle(file, Some(buffer)))?;
            }
            Call::Gate { sync } => {
                let timeline = (OpenOptions::new().read(true).write(true).open(SW_SYNC))
                    .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
                let mut args = SwSyncFence { value: 1, name: [0; 32], fence: -1 };
                ioctl(&timeline, SW_SYNC_FENCE, &mut args)?;
                self.syncs.insert(sync, new_fd(args.fence).ok_or(Errno::EBADF)?);
                self.gates.insert(sync, timeline.into());
            }
            Call::OpenGate { sync } => {
                ioctl(&self.gates[&sync], SW_SYNC_INC, &mut SwSyncInc { value: 1 })?;
            }
            Call::CreateSyncObj { file, object } => {
                let mut args = SyncObjCreate { handle: 0, flags: 0 };
                ioctl(&self.files[&file], SYNCOBJ_CREATE, &mut args)?;
                self.objects.insert((file, object), args.handle);
            }
            Call::ShareSyncObj { file, object, to } => {
                let handle = self.object(file, Some(object));
                let mut args = SyncObjHandle { handle, flags: 0, fd: -1, pad: 0, point: 0 };
                ioctl(&self.files[&file], SYNCOBJ_TO_FD, &mut args)?;
                let _fd = new_fd(args.fd);
                ioctl(&self.files[&to], SYNCOBJ_FROM_FD, &mut args)?;
                self.objects.insert((to, object), args.handle);
            }
            Call::Submit(ref submit) => self.submit(submit)?,
            Call::Wait { file, buffer, flags, patience } => {
                let timeout = until(patience);
                let mut args = Wait { handle: self.handle(file, buffer), flags, timeout };
                ioctl(&self.files[&file], WAIT, &mut args)?;
            }
            Call::WaitSyncObj { file, object, point, patience } => {
                let (handle, point) = (self.object(file, object), point);
                let mut args = SyncObjWait {
                    handles: (&raw const handle) as u64,
                    points: (&raw const point) as u64,
                    timeout: until(patience),
                    count: 1,
                    flags: 0,
                    first: 0,
                    pad: 0,
                    deadline: 0,
                };
                ioctl(&self.files[&file], SYNCOBJ_WAIT, &mut args)?;
            }
            Call::Status { sync } => return kernel::status(&self.syncs[&sync]).map(Some),
            Call::Finish { sync } => return self.finish(sync).map(Some),
            Call::Pause => thread::sleep(PAUSE),
        }
        Ok(None)
    }
}

/// The time when patience ends; a poll without any.
fn until(patience: Duration) -> i64 {
    if patience.is_zero() {
        0
    } else {
        (now() + patience.as_nanos() as u64) as i64
    }
}

impl Device for Kernel {
    fn call(&mut self, call: &Call) -> Reply {
        match self.try_call(call) {
            Ok(None) => Reply::Done,
            Ok(Some(status)) => Reply::Status(status),
            Err(error) => Reply::Fails(error),
        }
    }
}
