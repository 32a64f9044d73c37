// SPDX-License-Identifier: GPL-2.0

//! The kernel, by system calls.

use std::{
    collections::BTreeMap,
    ffi::c_void,
    fs::{self, File, OpenOptions},
    num::NonZeroUsize,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::PathBuf,
    ptr::NonNull,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    libc,
    poll::{poll, PollFd, PollFlags, PollTimeout},
    sys::{
        mman::{mmap, mmap_anonymous, mprotect, mremap, munmap, MRemapFlags, MapFlags, ProtFlags},
        signal::{kill, Signal},
        stat::fstat,
        wait::waitpid,
    },
    time::{clock_gettime, ClockId},
    unistd::{fork, ForkResult, Pid},
};

use crate::{
    model::{Call, Fd, Info, Key, Reply, Time, ROOM, SECOND},
    op::{Events, Form, Map},
    seq::Device,
};

const PAGE: usize = 4096;

/// What an ioctl must not touch has this before.
const UNTOUCHED: u32 = 0xdead_beef;

/// A wait that is over has to return within this.
const WAKE: Duration = Duration::from_secs(20);

/// It sleeps for that long at once, to see when the machine stands still.
const STEP: Time = SECOND / 100;

pub fn now() -> Time {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is always this clock");
    now.tv_sec() as Time * SECOND + now.tv_nsec() as Time
}

pub fn sleep_until(time: Time) {
    thread::sleep(Duration::from_nanos(time.saturating_sub(now())));
}

/// The number of files that this process has open.
pub fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count())
}

pub const fn iowr(kind: u8, number: u8, size: usize) -> libc::c_ulong {
    nix::request_code_readwrite!(kind, number, size) as libc::c_ulong
}

pub const fn iow(kind: u8, number: u8, size: usize) -> libc::c_ulong {
    nix::request_code_write!(kind, number, size) as libc::c_ulong
}

fn ioctl_raw(fd: impl AsFd, code: libc::c_ulong, args: *mut c_void) -> Result<(), Errno> {
    // SAFETY: The callers' `args` are as large as what the ioctls that they call read and write.
    Errno::result(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), code, args) }).map(drop)
}

/// What the arguments of an ioctl are: integers only.
///
/// # Safety
///
/// Any bit pattern has to be a valid value.
pub unsafe trait Args {}

pub fn ioctl<T: Args>(fd: impl AsFd, code: libc::c_ulong, args: &mut T) -> Result<(), Errno> {
    assert_eq!(code >> 16 & 0x3fff, size_of::<T>() as libc::c_ulong);
    ioctl_raw(fd, code, std::ptr::from_mut(args).cast())
}

macro_rules! args {
    ($($(#[$meta:meta])* struct $name:ident { $($member:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        struct $name { $($member: $type),* }
        // SAFETY: All members are integers, or arrays of them.
        unsafe impl Args for $name {}
    )*};
}
pub(crate) use args;

args! {
    struct CreateDumb { height: u32, width: u32, bpp: u32, flags: u32, handle: u32, pitch: u32, size: u64 }
    struct MapDumb { handle: u32, pad: u32, offset: u64 }
    struct Two { first: u32, second: u32 }
    struct PrimeHandle { handle: u32, flags: u32, fd: i32 }
    struct Attach { handle: u32, flags: u32, out_fence: u32, pad: u32 }
    struct LongAttach { args: Attach, more: [u32; 4] }
    struct SyncFile { flags: u32, fd: i32 }
    struct MergeData { name: [u8; 32], fd2: i32, fence: i32, flags: u32, pad: u32 }
    struct FileInfo {
        name: [u8; 32], status: i32, flags: u32, num_fences: u32, pad: u32, infos: u64,
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct FenceInfo {
    obj_name: [u8; 32],
    driver_name: [u8; 32],
    status: i32,
    flags: u32,
    timestamp_ns: u64,
}

const GEM_CLOSE: libc::c_ulong = iow(b'd', 0x09, size_of::<Two>());
const HANDLE_TO_FD: libc::c_ulong = iowr(b'd', 0x2d, size_of::<PrimeHandle>());
const FD_TO_HANDLE: libc::c_ulong = iowr(b'd', 0x2e, size_of::<PrimeHandle>());
const CREATE_DUMB: libc::c_ulong = iowr(b'd', 0xb2, size_of::<CreateDumb>());
const MAP_DUMB: libc::c_ulong = iowr(b'd', 0xb3, size_of::<MapDumb>());
const DESTROY_DUMB: libc::c_ulong = iowr(b'd', 0xb4, size_of::<u32>());
const ATTACH: u8 = 0x41;
const SIGNAL: libc::c_ulong = iow(b'd', 0x42, size_of::<Two>());
const EXPORT_SYNC_FILE: libc::c_ulong = iowr(b'b', 2, size_of::<SyncFile>());
const IMPORT_SYNC_FILE: libc::c_ulong = iow(b'b', 3, size_of::<SyncFile>());
const MERGE: libc::c_ulong = iowr(b'>', 3, size_of::<MergeData>());
const FILE_INFO: libc::c_ulong = iowr(b'>', 4, size_of::<FileInfo>());

/// A file descriptor that an ioctl returned.
pub fn new_fd(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: The kernel made it for us just now.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

// The ioctls by themselves.

pub fn create(
    file: impl AsFd,
    width: u32,
    height: u32,
    bpp: u32,
) -> Result<(u32, u32, u64), Errno> {
    let mut args = CreateDumb { height, width, bpp, flags: 0, handle: 0, pitch: 0, size: 0 };
    ioctl(file, CREATE_DUMB, &mut args)?;
    Ok((args.handle, args.pitch, args.size))
}

pub fn gem_close(file: impl AsFd, handle: u32) -> Result<(), Errno> {
    let mut args = Two { first: handle, second: 0 };
    ioctl(file, GEM_CLOSE, &mut args)
}

fn destroy(file: impl AsFd, mut handle: u32) -> Result<(), Errno> {
    ioctl_raw(file, DESTROY_DUMB, std::ptr::from_mut(&mut handle).cast())
}

pub fn export(file: impl AsFd, handle: u32, flags: u32) -> Result<Option<OwnedFd>, Errno> {
    let mut args = PrimeHandle { handle, flags, fd: -1 };
    ioctl(file, HANDLE_TO_FD, &mut args)?;
    Ok(new_fd(args.fd))
}

pub fn import(file: impl AsFd, fd: RawFd) -> Result<u32, Errno> {
    let mut args = PrimeHandle { handle: 0, flags: 0, fd };
    ioctl(file, FD_TO_HANDLE, &mut args)?;
    Ok(args.handle)
}

/// [`Err`] has [`None`] if `out_fence` was written to all the same.
pub fn attach(file: impl AsFd, handle: u32, flags: u32, pad: u32) -> Result<u32, Option<Errno>> {
    let mut args = Attach { handle, flags, out_fence: UNTOUCHED, pad };
    match ioctl(file, iowr(b'd', ATTACH, size_of::<Attach>()), &mut args) {
        Ok(()) => Ok(args.out_fence),
        Err(error) => Err((args.out_fence == UNTOUCHED).then_some(error)),
    }
}

pub fn signal(file: impl AsFd, id: u32, flags: u32) -> Result<(), Errno> {
    let mut args = Two { first: id, second: flags };
    ioctl(file, SIGNAL, &mut args)
}

pub fn sync_out(buf: impl AsFd, flags: u32) -> Result<Option<OwnedFd>, Errno> {
    let mut args = SyncFile { flags, fd: -1 };
    ioctl(buf, EXPORT_SYNC_FILE, &mut args)?;
    Ok(new_fd(args.fd))
}

pub fn sync_in(buf: impl AsFd, fd: RawFd, flags: u32) -> Result<(), Errno> {
    ioctl(buf, IMPORT_SYNC_FILE, &mut SyncFile { flags, fd })
}

pub fn merge(sync: impl AsFd, fd2: RawFd, flags: u32, pad: u32) -> Result<Option<OwnedFd>, Errno> {
    let mut args = MergeData {
        name: *b"merged\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        fd2,
        fence: -1,
        flags,
        pad,
    };
    ioctl(sync, MERGE, &mut args)?;
    Ok(new_fd(args.fence))
}

/// What of reading and writing is ready; `timeout` in milliseconds, for ever without.
pub fn ready(
    fd: impl AsFd,
    events: Events,
    timeout: Option<u16>,
) -> Result<(bool, bool), &'static str> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, events.read());
    flags.set(PollFlags::POLLOUT, events.write());
    let mut fds = [PollFd::new(fd.as_fd(), flags)];
    let timeout = timeout.map_or(PollTimeout::NONE, PollTimeout::from);
    loop {
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => (),
            Err(_) => return Err("poll() failed"),
            Ok(_) => break,
        }
    }
    match fds[0].revents() {
        Some(events) if flags.contains(events) => {
            Ok((events.contains(PollFlags::POLLIN), events.contains(PollFlags::POLLOUT)))
        }
        _ => Err("poll() returned what was not asked for"),
    }
}

/// The name that has to be in a zero-terminated array.
fn is_name(array: &[u8; 32], name: &str) -> bool {
    array.split(|byte| *byte == 0).next() == Some(name.as_bytes())
}

/// Whether a sync file is pending, 0, has succeeded, 1, or failed, with an error below 0.
pub fn status(sync: impl AsFd) -> Result<i32, Errno> {
    let mut args = FileInfo { name: [0; 32], status: 0, flags: 0, num_fences: 0, pad: 0, infos: 0 };
    ioctl(sync, FILE_INFO, &mut args)?;
    Ok(args.status)
}

/// With `alone`, nobody else signals the fences; else one may be signalled after the kernel took its
/// names, and before it takes its status, or then, and before it takes its time.
pub fn info(sync: impl AsFd, room: u32, flags: u32, alone: bool) -> Result<Reply, Errno> {
    let mut fences = vec![
        FenceInfo {
            obj_name: [0; 32],
            driver_name: [0; 32],
            status: -1,
            flags: 0,
            timestamp_ns: 0,
        };
        ROOM as usize
    ];
    assert!(room as usize <= fences.len());
    let mut args = FileInfo {
        name: [0; 32],
        status: -1,
        flags,
        num_fences: room,
        pad: 0,
        infos: fences.as_mut_ptr() as u64,
    };
    ioctl(sync, FILE_INFO, &mut args)?;

    let signaled = match args.status {
        0 => false,
        1 => true,
        _ => return Ok(Reply::Odd("a sync_file has a bad status")),
    };
    let count = args.num_fences;
    if room == 0 {
        return Ok(Reply::Info(Info {
            signaled,
            active: (count, count),
            done: (0, 0),
            when: None,
        }));
    }

    let (mut active, mut done) = (0, 0);
    for fence in &fences[..count as usize] {
        let is = |driver, timeline| {
            is_name(&fence.driver_name, driver) && is_name(&fence.obj_name, timeline)
        };
        let mut named = false;
        match fence.status {
            0 if fence.timestamp_ns == 0 || !alone => {
                active += 1;
                named |= is("vgem", "unbound");
            }
            1 => {
                done += 1;
                named |= is("detached-driver", "signaled-timeline");
                named |= !alone && is("vgem", "unbound");
                named |= !alone && is("vgem", "signaled-timeline");
            }
            _ => return Ok(Reply::Odd("a fence has a bad status")),
        }
        if !named {
            return Ok(Reply::Odd("a fence has a bad name"));
        }
    }
    Ok(Reply::Info(Info {
        signaled,
        active: (active, active),
        done: (done, done),
        when: (count == 1 && done == 1).then(|| (fences[0].timestamp_ns, fences[0].timestamp_ns)),
    }))
}

/// The device, which may have any number.
#[derive(Clone, Debug)]
pub struct Nodes {
    primary: PathBuf,
    render: PathBuf,
}

impl Nodes {
    /// Finds the nodes of a driver.
    pub fn find(driver: &str) -> Result<Self, String> {
        let find = |kind: &str| {
            (0..256)
                .map(|minor| PathBuf::from(format!("/dev/dri/{kind}{minor}")))
                .find(|path| {
                    File::open(path)
                        .is_ok_and(|file| version(&file).is_ok_and(|name| name == driver))
                })
                .ok_or(format!("there is no {kind} node of {driver} in /dev/dri"))
        };
        Ok(Self { primary: find("card")?, render: find("renderD")? })
    }

    pub fn open(&self, render: bool) -> Result<OwnedFd, Errno> {
        let path = if render { &self.render } else { &self.primary };
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map(OwnedFd::from)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
    }
}

/// The name of a node's driver.
fn version(file: &File) -> Result<String, Errno> {
    #[repr(C)]
    struct Version {
        numbers: [i32; 3],
        name_len: usize,
        name: *mut u8,
        date_len: usize,
        date: *mut u8,
        desc_len: usize,
        desc: *mut u8,
    }
    let mut name = [0u8; 32];
    let mut args = Version {
        numbers: [0; 3],
        name_len: name.len(),
        name: name.as_mut_ptr(),
        date_len: 0,
        date: std::ptr::null_mut(),
        desc_len: 0,
        desc: std::ptr::null_mut(),
    };
    let code = iowr(b'd', 0x00, size_of::<Version>());
    ioctl_raw(file, code, std::ptr::from_mut(&mut args).cast())?;
    let name = &name[..args.name_len.min(name.len())];
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// A map of a buffer.
pub struct Mapping {
    start: NonNull<c_void>,
    size: usize,
    /// Which pages are still there; others may have those that are not.
    there: Vec<bool>,
}

impl Mapping {
    fn new(start: NonNull<c_void>, size: usize) -> Self {
        Self { start, size, there: vec![true; size.div_ceil(PAGE)] }
    }

    fn page(&self, page: usize) -> NonNull<c_void> {
        assert!(self.there[page]);
        // SAFETY: It is within the map.
        unsafe { self.start.byte_add(page * PAGE) }
    }

    /// Unmaps pages that are there.
    fn unmap(&mut self, first: usize, count: usize) -> Result<(), Errno> {
        // SAFETY: They are there, and nothing else uses them.
        unsafe { munmap(self.page(first), count * PAGE) }?;
        self.there[first..first + count].fill(false);
        Ok(())
    }

    fn protect(&self, first: usize, count: usize, write: bool) -> Result<(), Errno> {
        let mut prot = ProtFlags::PROT_READ;
        prot.set(ProtFlags::PROT_WRITE, write);
        // SAFETY: They are there, and what can't be written to is not written to.
        unsafe { mprotect(self.page(first), count * PAGE, prot) }
    }

    /// Moves a page to where nothing was before.
    fn move_page(&mut self, page: usize) -> Result<Self, Errno> {
        let size = NonZeroUsize::new(PAGE).ok_or(Errno::EINVAL)?;
        let flags = MRemapFlags::MREMAP_MAYMOVE | MRemapFlags::MREMAP_FIXED;
        // SAFETY: It goes where nothing is yet, and replaces what was just mapped there.
        let start = unsafe {
            let room = mmap_anonymous(None, size, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE)?;
            mremap(self.page(page), PAGE, PAGE, flags, Some(room))?
        };
        self.there[page] = false;
        Ok(Self::new(start, PAGE))
    }

    fn word(&self, at: u64) -> *mut u16 {
        let at = at as usize;
        assert!(at.is_multiple_of(2) && at + 2 <= self.size);
        // SAFETY: It is within the map.
        unsafe { self.start.as_ptr().byte_add(at) }.cast()
    }

    pub fn read(&self, at: u64) -> u16 {
        // SAFETY: It is within the map, which can be read. Others write by system calls only.
        unsafe { self.word(at).read_volatile() }
    }

    pub fn write(&self, at: u64, word: u16) {
        // SAFETY: As in `read`; the model writes to maps that can be written only.
        unsafe { self.word(at).write_volatile(word) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        for page in 0..self.there.len() {
            if self.there[page] {
                self.unmap(page, 1).expect("a map can be unmapped");
            }
        }
    }
}

pub fn map(fd: impl AsFd, size: usize, offset: u64, how: Map) -> Result<Mapping, Errno> {
    let size = if how == Map::TooLong { size + PAGE } else { size };
    let prot = match how {
        Map::ReadWrite | Map::TooLong => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        Map::ReadOnly | Map::Private => ProtFlags::PROT_READ,
    };
    let flags = match how {
        Map::Private => MapFlags::MAP_PRIVATE,
        _ => MapFlags::MAP_SHARED,
    };
    let length = NonZeroUsize::new(size).ok_or(Errno::EINVAL)?;
    // SAFETY: It goes where nothing is yet.
    let start = unsafe { mmap(None, length, prot, flags, fd, offset as libc::off_t) }?;
    Ok(Mapping::new(start, size))
}

/// A thread in `poll()`.
struct Waiter {
    receiver: Receiver<Result<(bool, bool), &'static str>>,
    reply: Option<Result<(bool, bool), &'static str>>,
}

pub struct Kernel {
    nodes: Nodes,
    drm: BTreeMap<Key, OwnedFd>,
    buf: BTreeMap<Key, OwnedFd>,
    sync: BTreeMap<Key, OwnedFd>,
    maps: BTreeMap<Key, Mapping>,
    waits: BTreeMap<Key, Waiter>,
    children: BTreeMap<Key, Pid>,
    offsets: BTreeMap<usize, u64>,
    inodes: Vec<u64>,
    /// For arguments that can't be written to.
    page: Mapping,
    stalled: Time,
}

impl Kernel {
    pub fn new(nodes: &Nodes) -> Result<Self, Errno> {
        let size = NonZeroUsize::new(PAGE).ok_or(Errno::EINVAL)?;
        // SAFETY: It goes where nothing is yet.
        let start =
            unsafe { mmap_anonymous(None, size, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE) }?;
        Ok(Self {
            nodes: nodes.clone(),
            drm: BTreeMap::new(),
            buf: BTreeMap::new(),
            sync: BTreeMap::new(),
            maps: BTreeMap::new(),
            waits: BTreeMap::new(),
            children: BTreeMap::new(),
            offsets: BTreeMap::new(),
            inodes: Vec::new(),
            page: Mapping::new(start, PAGE),
            stalled: 0,
        })
    }

    fn fd(&self, fd: Fd) -> Option<&OwnedFd> {
        match fd {
            Fd::Drm(key) => self.drm.get(&key),
            Fd::Buf(key) => self.buf.get(&key),
            Fd::Sync(key) => self.sync.get(&key),
            Fd::None => None,
        }
    }

    fn raw(&self, fd: Fd) -> RawFd {
        self.fd(fd).map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Attaches with arguments in memory that can't be written to.
    fn attach_read_only(&self, file: &OwnedFd, args: Attach) -> Result<(), Errno> {
        let Mapping { start, size, .. } = self.page;
        // SAFETY: Only this function uses the page, which is large enough.
        unsafe {
            mprotect(start, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
            start.cast::<Attach>().write(args);
            mprotect(start, size, ProtFlags::PROT_READ)?;
        }
        ioctl_raw(file, iowr(b'd', ATTACH, size_of::<Attach>()), start.as_ptr())
    }

    fn attach(&self, file: Key, args: Attach, form: Form) -> Result<Reply, Errno> {
        let file = &self.drm[&file];
        match form {
            Form::Plain => match attach(file, args.handle, args.flags, args.pad) {
                Ok(id) => Ok(Reply::Fence(id)),
                Err(Some(error)) => Err(error),
                Err(None) => Ok(Reply::Odd("an attach that failed wrote its arguments")),
            },
            Form::ReadOnly => {
                self.attach_read_only(file, args)?;
                Ok(Reply::Done)
            }
            Form::Short => {
                let mut short = Two { first: args.handle, second: args.flags };
                ioctl(file, iowr(b'd', ATTACH, size_of::<Two>()), &mut short)?;
                Ok(Reply::Done)
            }
            Form::Long => {
                let mut long = LongAttach { args, more: [UNTOUCHED; 4] };
                let result = ioctl(file, iowr(b'd', ATTACH, size_of::<LongAttach>()), &mut long);
                if long.more != [UNTOUCHED; 4] {
                    return Ok(Reply::Odd("an attach wrote behind its arguments"));
                }
                result.map(|()| Reply::Fence(long.args.out_fence))
            }
        }
    }

    fn try_call(&mut self, call: &Call) -> Result<Reply, Errno> {
        let no_fd = || Ok(Reply::Odd("an ioctl returned no file descriptor"));

        match *call {
            Call::Open { new, render } => {
                let file = self.nodes.open(render)?;
                self.drm.insert(new, file);
            }

            Call::Create { file, shape } => {
                let (handle, pitch, size) =
                    create(&self.drm[&file], shape.width, shape.height, shape.bpp)?;
                return Ok(Reply::Buffer { handle, pitch, size });
            }

            Call::GemClose { file, handle, dumb } => {
                let file = &self.drm[&file];
                if dumb {
                    destroy(file, handle)?;
                } else {
                    gem_close(file, handle)?;
                }
            }

            Call::Offset { file, handle, object } => {
                let mut args = MapDumb { handle, pad: 0, offset: 0 };
                ioctl(&self.drm[&file], MAP_DUMB, &mut args)?;
                if let Some(object) = object {
                    if *self.offsets.entry(object).or_insert(args.offset) != args.offset {
                        return Ok(Reply::Odd("a buffer's offset has changed"));
                    }
                }
            }

            Call::Map { of, object, first, count, how, new } => {
                let offset = match of {
                    Fd::Drm(_) => self.offsets[&object],
                    _ => 0,
                };
                let page = PAGE as u64;
                let fd = self.fd(of).ok_or(Errno::EBADF)?;
                let map = map(fd, (count * page) as usize, offset + first * page, how)?;
                self.maps.insert(new, map);
            }

            Call::UnmapPart { map: key, first, count } => {
                let map = self.maps.get_mut(&key).ok_or(Errno::EINVAL)?;
                map.unmap(first as usize, count as usize)?;
                if !map.there.contains(&true) {
                    self.maps.remove(&key);
                }
            }

            Call::Protect { map, first, count, write } => {
                self.maps[&map].protect(first as usize, count as usize, write)?;
            }

            Call::Move { map: key, page, new } => {
                let map = self.maps.get_mut(&key).ok_or(Errno::EINVAL)?;
                let moved = map.move_page(page as usize)?;
                if !map.there.contains(&true) {
                    self.maps.remove(&key);
                }
                self.maps.insert(new, moved);
            }

            Call::Unmap { map } => drop(self.maps.remove(&map)),

            Call::Read { map, at } => return Ok(Reply::Word(self.maps[&map].read(at))),

            Call::Write { map, at, word } => self.maps[&map].write(at, word),

            Call::Export { file, handle, flags, new } => {
                let Some(buf) = export(&self.drm[&file], handle, flags)? else {
                    return no_fd();
                };
                let inode = fstat(&buf)?.st_ino;
                let number = match self.inodes.iter().position(|known| *known == inode) {
                    Some(index) => index + 1,
                    None => {
                        self.inodes.push(inode);
                        self.inodes.len()
                    }
                };
                self.buf.insert(new, buf);
                return Ok(Reply::Buf(number));
            }

            Call::Import { file, from } => {
                return import(&self.drm[&file], self.raw(from)).map(Reply::Handle)
            }

            Call::Dup { of, new } => {
                let fd = self.fd(of).ok_or(Errno::EBADF)?.try_clone();
                let fd = fd.map_err(|_| Errno::EMFILE)?;
                match of {
                    Fd::Drm(_) => self.drm.insert(new, fd),
                    _ => self.buf.insert(new, fd),
                };
            }

            Call::Close { fd } => drop(match fd {
                Fd::Drm(key) => self.drm.remove(&key),
                Fd::Buf(key) => self.buf.remove(&key),
                Fd::Sync(key) => self.sync.remove(&key),
                Fd::None => None,
            }),

            Call::Attach { file, handle, flags, pad, form } => {
                let args = Attach { handle, flags, out_fence: UNTOUCHED, pad };
                return self.attach(file, args, form);
            }

            Call::Signal { file, id, flags } => signal(&self.drm[&file], id, flags)?,

            Call::SyncOut { buf, flags, new } => {
                let Some(sync) = sync_out(&self.buf[&buf], flags)? else {
                    return no_fd();
                };
                self.sync.insert(new, sync);
            }

            Call::SyncIn { buf, from, flags } => {
                sync_in(&self.buf[&buf], self.raw(from), flags)?;
            }

            Call::Merge { sync, with, flags, pad, new } => {
                let merged = merge(&self.sync[&sync], self.raw(with), flags, pad)?;
                let Some(merged) = merged else {
                    return no_fd();
                };
                self.sync.insert(new, merged);
            }

            Call::Info { sync, room, flags } => return info(&self.sync[&sync], room, flags, true),

            Call::Poll { fd, events } => {
                let fd = self.fd(fd).ok_or(Errno::EBADF)?;
                return Ok(events_reply(ready(fd, events, Some(0))));
            }

            Call::Wait { fd, events, new } => {
                let fd = self.fd(fd).ok_or(Errno::EBADF)?.try_clone();
                let fd = fd.map_err(|_| Errno::EMFILE)?;
                let (sender, receiver) = mpsc::channel();
                thread::spawn(move || {
                    let reply = ready(&fd, events, None);
                    // Whoever is told that the wait is over may look at what is open.
                    drop(fd);
                    let _ = sender.send(reply);
                });
                self.waits.insert(new, Waiter { receiver, reply: None });
            }

            Call::Join { wait } => {
                let waiter = self.waits.remove(&wait).ok_or(Errno::ESRCH)?;
                let reply = (waiter.reply).or_else(|| waiter.receiver.recv_timeout(WAKE).ok());
                return Ok(match reply {
                    Some(reply) => events_reply(reply),
                    None => Reply::Odd("a poll() that has to return does not"),
                });
            }

            Call::Unknown { file, number } => {
                let mut args = Two { first: 0, second: 0 };
                ioctl(&self.drm[&file], iowr(b'd', number, size_of::<Two>()), &mut args)?;
            }

            // SAFETY: The child makes system calls only.
            Call::Fork { new } => match unsafe { fork() }? {
                ForkResult::Parent { child } => drop(self.children.insert(new, child)),
                ForkResult::Child => {
                    // SAFETY: These can always be called.
                    unsafe {
                        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                        loop {
                            libc::pause();
                        }
                    }
                }
            },

            Call::Kill { child } => {
                let child = self.children.remove(&child).ok_or(Errno::ESRCH)?;
                kill(child, Signal::SIGKILL)?;
                waitpid(child, None)?;
            }

            Call::Sleep { until } => {
                while now() < until {
                    let step = until.min(now() + STEP);
                    sleep_until(step);
                    self.stalled = self.stalled.max(now() - step);
                }
            }
        }
        Ok(Reply::Done)
    }
}

impl Device for Kernel {
    fn now(&mut self) -> Time {
        now()
    }

    fn call(&mut self, call: &Call) -> Reply {
        self.try_call(call).unwrap_or_else(Reply::Fails)
    }

    fn woken(&mut self, wait: Key) -> bool {
        let Some(waiter) = self.waits.get_mut(&wait) else {
            return false;
        };
        if waiter.reply.is_none() {
            waiter.reply = waiter.receiver.try_recv().ok();
        }
        waiter.reply.is_some()
    }

    fn stalled(&self) -> Time {
        self.stalled
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // After a failure there may be some of these. Closing all files ends all waits.
        for child in self.children.values() {
            let _ = kill(*child, Signal::SIGKILL);
            let _ = waitpid(*child, None);
        }
        self.drm.clear();
        self.maps.clear();
        for waiter in self.waits.values_mut().filter(|waiter| waiter.reply.is_none()) {
            let _ = waiter.receiver.recv_timeout(Duration::from_secs(1));
        }
    }
}

fn events_reply(reply: Result<(bool, bool), &'static str>) -> Reply {
    match reply {
        Ok((read, write)) => Reply::Events { read, write },
        Err(odd) => Reply::Odd(odd),
    }
}
