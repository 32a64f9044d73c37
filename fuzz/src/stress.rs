// SPDX-License-Identifier: GPL-2.0

//! Many threads and processes at once. What each call returns depends on who is first, so that
//! what is checked holds whoever that is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::{AsRawFd, OwnedFd},
    sync::{
        atomic::{AtomicU32, Ordering},
        Arc, Barrier, Mutex,
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::{kill, Signal},
        stat::fstat,
        wait::waitpid,
    },
    unistd::{fork, ForkResult, Pid},
};

use crate::{
    kernel::{self, now, open_files, Nodes},
    model::{Driver, Reply, Time, READ, ROOM, SECOND, WRITE},
    op::{Events, Map},
    search::Counts,
    Options,
};

const THREADS: usize = 4;

/// How often threads meet in a round, and what each does by itself after that.
const DUELS: usize = 40;
const OPS: usize = 150;

/// What is long enough for a fence to expire says nothing.
const SLOW: Time = 9 * SECOND;

const EXPORT: u32 = (libc::O_CLOEXEC | libc::O_RDWR) as u32;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What is wrong.
type Wrong = String;

fn wrong<T>(what: &str, result: impl std::fmt::Debug) -> Result<T, Wrong> {
    Err(format!("{what}: {result:?}"))
}

/// A system call that can't fail here.
fn must<T>(what: &str, result: Result<T, Errno>) -> Result<T, Wrong> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// An attach that fails has to leave its arguments alone.
fn attach(file: &OwnedFd, handle: u32, write: bool) -> Result<Result<u32, Errno>, Wrong> {
    match kernel::attach(file, handle, u32::from(write), 0) {
        Ok(id) => Ok(Ok(id)),
        Err(Some(error)) => Ok(Err(error)),
        Err(None) => wrong("an attach that failed wrote its arguments", handle),
    }
}

fn exported(file: &OwnedFd, handle: u32) -> Result<OwnedFd, Wrong> {
    match must("export", kernel::export(file, handle, EXPORT))? {
        Some(buf) => Ok(buf),
        None => wrong("export returned no file descriptor", handle),
    }
}

fn is_idle(buf: &OwnedFd) -> Result<bool, Wrong> {
    Ok(kernel::ready(buf, Events::InOut, Some(0))? == (true, true))
}

#[derive(Default)]
struct Found {
    calls: u64,
    /// How often C let two attach that exclude each other.
    defects: u64,
}

/// Runs rounds until time is up. Each has a seed of its own, from `seed` on.
pub fn stress(options: &Options, end: Instant, seed: u64) -> Result<Counts, Wrong> {
    let mut counts = Counts::default();
    let mut defects = 0;
    let mut told = Instant::now();

    for seed in seed.. {
        if Instant::now() >= end {
            break;
        }
        let found = round(options, seed)
            .map_err(|wrong| format!("stress: a round with seed {seed} goes wrong: {wrong}"))?;
        match found {
            Some(found) => {
                counts.calls += found.calls;
                defects += found.defects;
            }
            None => counts.slow += 1,
        }
        counts.runs += 1;
        if told.elapsed().as_secs() >= 15 {
            println!("fuzz: {:?}: {counts}, seed {seed}", options.driver);
            told = Instant::now();
        }
    }
    if defects != 0 {
        println!("fuzz: C let a writer in beside another user {defects} times, as is known");
    }
    Ok(counts)
}

fn round(options: &Options, seed: u64) -> Result<Option<Found>, Wrong> {
    let before = open_files();
    let start = now();
    let mut rng = Rng(seed);
    let mut found = Found::default();

    for _ in 0..2 {
        duels(options, rng.next(), &mut found)?;
        free_for_all(options, rng.next(), &mut found)?;
    }
    fresh(&options.nodes)?;

    let after = open_files();
    if before != after {
        return wrong("files are open that were not before", (before, after));
    }
    Ok((now() - start < SLOW).then_some(found))
}

/// A new file works, whatever happened to others.
fn fresh(nodes: &Nodes) -> Result<(), Wrong> {
    let file = must("open", nodes.open(false))?;
    let (handle, ..) = must("create", kernel::create(&file, 1024, 1, 32))?;
    if handle != 1 {
        return wrong("the first handle of a new file", handle);
    }
    match attach(&file, handle, true)? {
        Ok(1) => must("signal", kernel::signal(&file, 1, 0)),
        other => wrong("the first attach of a new file", other),
    }
}

/// What several threads do at the same time.
#[derive(Clone, Copy, Debug)]
enum Duel {
    /// Attach to a buffer; who of them writes is in the bits.
    Attach(usize),
    /// Signal the same fence.
    Signal,
    /// Close the same handle.
    Close,
    /// Import the same DMA-BUF to the same file.
    Import,
    /// Export the same buffer, for the first time.
    Export,
}

struct Arena {
    /// All threads' file.
    file: OwnedFd,
    /// Each thread's own.
    files: Vec<OwnedFd>,
    /// All files' buffer, with their handles.
    buf: OwnedFd,
    handles: Vec<u32>,
    /// What the duel is about: an ID, a handle, or a DMA-BUF.
    number: AtomicU32,
    other: Mutex<Option<Arc<OwnedFd>>>,
    results: Mutex<Vec<(usize, Result<u64, Errno>)>>,
    barrier: Barrier,
}

fn duels(options: &Options, seed: u64, found: &mut Found) -> Result<(), Wrong> {
    let open = |render| must("open", options.nodes.open(render));
    let file = open(false)?;
    let (handle, ..) = must("create", kernel::create(&file, 64, 1, 32))?;
    let buf = exported(&file, handle)?;
    let mut files = Vec::new();
    let mut handles = Vec::new();
    for thread in 0..THREADS {
        let file = open(thread % 2 == 1)?;
        handles.push(must("import", kernel::import(&file, buf.as_raw_fd()))?);
        files.push(file);
    }
    let arena = Arena {
        file,
        files,
        buf,
        handles,
        number: AtomicU32::new(0),
        other: Mutex::new(None),
        results: Mutex::new(Vec::new()),
        barrier: Barrier::new(THREADS),
    };

    // All threads have the same choices.
    thread::scope(|scope| {
        let others: Vec<_> = (1..THREADS)
            .map(|thread| {
                let arena = &arena;
                scope.spawn(move || fight(arena, options.driver, seed, thread))
            })
            .collect();
        let result = fight(&arena, options.driver, seed, 0);
        for other in others {
            other.join().map_err(|_| "a thread panicked")??;
        }
        found.defects += result?;
        Ok::<(), Wrong>(())
    })?;
    found.calls += (DUELS * THREADS) as u64;
    Ok(())
}

/// A thread's part in all duels. The first thread prepares and judges; what is wrong ends it only
/// once all are through, so that no other waits for it.
fn fight(arena: &Arena, driver: Driver, seed: u64, thread: usize) -> Result<u64, Wrong> {
    let mut rng = Rng(seed);
    let mut result = Ok(0);

    for _ in 0..DUELS {
        let duel = match rng.below(8) {
            0..4 => Duel::Attach(rng.below(1 << THREADS)),
            4 => Duel::Signal,
            5 => Duel::Close,
            6 => Duel::Import,
            _ => Duel::Export,
        };
        if thread == 0 && result.is_ok() {
            if let Err(wrong) = prepare(arena, duel) {
                result = Err(wrong);
            }
        }
        arena.barrier.wait();
        let done = act(arena, duel, thread);
        (arena.results.lock().expect("no thread panics")).push((thread, done));
        arena.barrier.wait();
        if thread == 0 {
            let results = std::mem::take(&mut *arena.results.lock().expect("no thread panics"));
            result = result.and_then(|defects| {
                judge(arena, driver, duel, &results)
                    .map(|defect| defects + u64::from(defect))
                    .map_err(|wrong| format!("{duel:?}: {wrong}: {results:?}"))
            });
        }
    }
    result
}

fn prepare(arena: &Arena, duel: Duel) -> Result<(), Wrong> {
    let number = match duel {
        Duel::Attach(_) => return Ok(()),
        Duel::Signal => match attach(&arena.file, 1, true)? {
            Ok(id) => id,
            Err(error) => return wrong("attach to an idle buffer", error),
        },
        Duel::Close | Duel::Export => must("create", kernel::create(&arena.file, 64, 1, 32))?.0,
        Duel::Import => {
            let (handle, ..) = must("create", kernel::create(&arena.files[0], 64, 1, 32))?;
            let buf = exported(&arena.files[0], handle)?;
            must("close", kernel::gem_close(&arena.files[0], handle))?;
            *arena.other.lock().expect("no thread panics") = Some(Arc::new(buf));
            0
        }
    };
    arena.number.store(number, Ordering::Relaxed);
    Ok(())
}

fn act(arena: &Arena, duel: Duel, thread: usize) -> Result<u64, Errno> {
    let number = arena.number.load(Ordering::Relaxed);
    match duel {
        Duel::Attach(writers) => {
            let (file, handle) = (&arena.files[thread], arena.handles[thread]);
            match attach(file, handle, writers >> thread & 1 != 0) {
                Ok(result) => result.map(u64::from),
                Err(_) => Err(Errno::EIO),
            }
        }
        Duel::Signal => kernel::signal(&arena.file, number, 0).map(|()| 0),
        Duel::Close => kernel::gem_close(&arena.file, number).map(|()| 0),
        Duel::Import => {
            let buf = arena.other.lock().expect("no thread panics").clone();
            let buf = buf.ok_or(Errno::EIO)?;
            kernel::import(&arena.file, buf.as_raw_fd()).map(u64::from)
        }
        Duel::Export => {
            let buf = kernel::export(&arena.file, number, EXPORT)?;
            Ok(fstat(buf.ok_or(Errno::EIO)?)?.st_ino)
        }
    }
}

/// Whether that was a defect of C.
fn judge(
    arena: &Arena,
    driver: Driver,
    duel: Duel,
    results: &[(usize, Result<u64, Errno>)],
) -> Result<bool, Wrong> {
    let number = arena.number.load(Ordering::Relaxed);
    let one_wins = |others: Errno| {
        let won = results.iter().filter(|(_, result)| result.is_ok()).count();
        let lost = (results.iter()).filter(|(_, result)| *result == Err(others)).count();
        (won == 1 && lost == THREADS - 1).then_some(()).ok_or("not exactly one was the first")
    };
    let all_same = || match results.first() {
        Some((_, Ok(value))) if results.iter().all(|(_, result)| *result == Ok(*value)) => {
            Ok(*value)
        }
        _ => Err("not all have the same"),
    };

    let mut defect = false;
    match duel {
        Duel::Attach(writers) => {
            let writes = |thread: usize| writers >> thread & 1 != 0;
            let (mut writing, mut reading) = (0, 0);
            for (thread, result) in results {
                match result {
                    Ok(_) if writes(*thread) => writing += 1,
                    Ok(_) => reading += 1,
                    Err(Errno::EBUSY) => (),
                    Err(_) => return wrong("attach", result),
                }
            }
            let readers = (0..THREADS).filter(|thread| !writes(*thread)).count();
            let exclusive = match (writing, reading) {
                (1, 0) => true,
                (0, reading) => reading == readers && readers != 0,
                _ => false,
            };
            defect = !exclusive;
            if writing + reading == 0 || (defect && driver == Driver::Rust) {
                return wrong("users exclude each other", (writing, reading));
            }
            for (thread, result) in results {
                if let Ok(id) = result {
                    if is_idle(&arena.buf)? {
                        return wrong("a buffer with a fence is idle", thread);
                    }
                    must("signal", kernel::signal(&arena.files[*thread], *id as u32, 0))?;
                }
            }
        }
        Duel::Signal => one_wins(Errno::ENOENT)?,
        Duel::Close => one_wins(Errno::EINVAL)?,
        Duel::Import => {
            let handle = all_same()? as u32;
            arena.other.lock().expect("no thread panics").take();
            must("close", kernel::gem_close(&arena.file, handle))?;
        }
        Duel::Export => {
            all_same()?;
            must("close", kernel::gem_close(&arena.file, number))?;
        }
    }
    if !is_idle(&arena.buf)? {
        return wrong("a buffer is busy after all signalled", ());
    }
    Ok(defect)
}

/// An attach that succeeded.
#[derive(Clone, Copy, Debug)]
struct Held {
    buf: usize,
    file: usize,
    id: u32,
    write: bool,
    /// The call's time.
    from: Time,
    to: Time,
}

/// A signal that succeeded.
#[derive(Clone, Copy, Debug)]
struct Let {
    file: usize,
    id: u32,
    /// The call began then.
    at: Time,
}

#[derive(Default)]
struct Log {
    held: Vec<Held>,
    let_go: Vec<Let>,
    /// Attached before, and there was none with the ID.
    missed: BTreeSet<(usize, u32)>,
    syncs: Vec<OwnedFd>,
    calls: u64,
}

struct Field {
    nodes: Nodes,
    files: Vec<OwnedFd>,
    bufs: Vec<OwnedFd>,
    /// The last ID that was seen of each file.
    last: Vec<AtomicU32>,
}

/// The handle of a buffer in every file: all import them in the same order.
fn handle_of(buf: usize) -> u32 {
    buf as u32 + 1
}

const FILES: usize = 3;
const BUFS: usize = 2;

fn free_for_all(options: &Options, seed: u64, found: &mut Found) -> Result<(), Wrong> {
    let mut rng = Rng(seed);
    let maker = must("open", options.nodes.open(false))?;
    let mut bufs = Vec::new();
    for buf in 0..BUFS {
        let (handle, ..) = must("create", kernel::create(&maker, 1024, 2, 32))?;
        if handle != handle_of(buf) {
            return wrong("the handle of a new file", handle);
        }
        bufs.push(exported(&maker, handle)?);
    }
    drop(maker);

    // It has nothing open but the DMA-BUFs. There is only this thread now.
    let child = vandal(&options.nodes, &bufs, rng.next())?;
    let result = peace(options, bufs, child, &mut rng, found);
    if result.is_err() {
        let _ = kill(child, Signal::SIGKILL);
        let _ = waitpid(child, None);
    }
    result
}

/// A process that attaches and signals until it is killed.
fn vandal(nodes: &Nodes, bufs: &[OwnedFd], seed: u64) -> Result<Pid, Wrong> {
    // SAFETY: This process has one thread only.
    match must("fork", unsafe { fork() })? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            // SAFETY: It can always be called.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let mut rng = Rng(seed);
            let open = || {
                let file = nodes.open(true).ok()?;
                for buf in bufs {
                    kernel::import(&file, buf.as_raw_fd()).ok()?;
                }
                Some(file)
            };
            while let Some(file) = open() {
                for _ in 0..100 {
                    let handle = handle_of(rng.below(BUFS));
                    if let Ok(id) = kernel::attach(&file, handle, u32::from(rng.one_in(2)), 0) {
                        thread::sleep(Duration::from_micros(rng.below(500) as u64));
                        if !rng.one_in(4) {
                            let _ = kernel::signal(&file, id, 0);
                        }
                    }
                }
            }
            // Without running what the other process has to run at its end.
            // SAFETY: It can always be called.
            unsafe { libc::_exit(1) }
        }
    }
}

fn peace(
    options: &Options,
    bufs: Vec<OwnedFd>,
    child: Pid,
    rng: &mut Rng,
    found: &mut Found,
) -> Result<(), Wrong> {
    let mut files = Vec::new();
    for number in 0..FILES {
        let file = must("open", options.nodes.open(number % 2 == 1))?;
        for (number, buf) in bufs.iter().enumerate() {
            let handle = must("import", kernel::import(&file, buf.as_raw_fd()))?;
            if handle != handle_of(number) {
                return wrong("the handle of an import", handle);
            }
        }
        files.push(file);
    }
    let mut field = Field {
        nodes: options.nodes.clone(),
        files,
        bufs,
        last: (0..FILES).map(|_| AtomicU32::new(0)).collect(),
    };

    let mut log = Log::default();
    let kill_after = Duration::from_millis(rng.below(150) as u64);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (field, seed) = (&field, rng.next());
                scope.spawn(move || roam(field, thread, seed))
            })
            .collect();
        thread::sleep(kill_after);
        must("kill", kill(child, Signal::SIGKILL))?;
        must("wait", waitpid(child, None))?;
        for thread in threads {
            let one = thread.join().map_err(|_| "a thread panicked")??;
            log.held.extend(one.held);
            log.let_go.extend(one.let_go);
            log.missed.extend(one.missed);
            log.syncs.extend(one.syncs);
            log.calls += one.calls;
        }
        Ok::<(), Wrong>(())
    })?;
    let end = now();
    found.calls += log.calls;
    found.defects += check(options.driver, &log, end)?;

    // Each fence is signalled once: by now, or when its file is closed.
    let pending: Vec<usize> = (0..BUFS)
        .filter(|buf| {
            (log.held.iter()).any(|held| {
                held.buf == *buf
                    && !(log.let_go.iter()).any(|go| (go.file, go.id) == (held.file, held.id))
            })
        })
        .collect();
    for (number, buf) in field.bufs.iter().enumerate() {
        let (idle, busy) = (is_idle(buf)?, pending.contains(&number));
        if idle == busy && !log.is_slow(now()) {
            return wrong("a buffer is idle", (idle, number));
        }
    }
    field.files.clear();
    for buf in &field.bufs {
        if !is_idle(buf)? {
            return wrong("a buffer is busy after all files were closed", ());
        }
    }
    for sync in &log.syncs {
        if !kernel::ready(sync, Events::In, Some(0))?.0 {
            return wrong("a sync_file is busy after all files were closed", ());
        }
    }
    Ok(())
}

impl Log {
    /// Whether something may have expired.
    fn is_slow(&self, end: Time) -> bool {
        (self.held.iter()).any(|held| end - held.from >= SLOW)
    }
}

/// What a thread does by itself, with others' files.
fn roam(field: &Field, thread: usize, seed: u64) -> Result<Log, Wrong> {
    let mut rng = Rng(seed);
    let mut log = Log::default();
    let mut mine: Vec<(usize, u32)> = Vec::new();

    for _ in 0..OPS {
        let file = rng.below(FILES);
        let buf = rng.below(BUFS);
        let (fd, dma_buf, handle) = (&field.files[file], &field.bufs[buf], handle_of(buf));
        log.calls += 1;
        match rng.below(16) {
            0..5 => {
                let write = rng.one_in(2);
                let from = now();
                match attach(fd, handle, write)? {
                    Ok(id) => {
                        let to = now();
                        field.last[file].fetch_max(id, Ordering::Relaxed);
                        mine.push((file, id));
                        log.held.push(Held { buf, file, id, write, from, to });
                    }
                    Err(Errno::EBUSY) => (),
                    Err(error) => return wrong("attach", error),
                }
            }
            5..10 => {
                // Own ones, others', and some that were not given out yet.
                let own = !mine.is_empty() && !rng.one_in(4);
                let (file, id) = if own {
                    mine.swap_remove(rng.below(mine.len()))
                } else {
                    let last = field.last[file].load(Ordering::Relaxed) as usize;
                    (file, rng.below(last + 2) as u32)
                };
                let at = now();
                match kernel::signal(&field.files[file], id, 0) {
                    Ok(()) => log.let_go.push(Let { file, id, at }),
                    Err(Errno::ENOENT) if own => drop(log.missed.insert((file, id))),
                    Err(Errno::ENOENT) => (),
                    Err(error) => return wrong("signal", error),
                }
            }
            10 => {
                let flags = [READ, WRITE, READ | WRITE][rng.below(3)];
                match must("export a sync_file", kernel::sync_out(dma_buf, flags))? {
                    Some(sync) if log.syncs.len() < 16 => {
                        let room = if rng.one_in(2) { ROOM } else { 0 };
                        let info = must("info", kernel::info(&sync, room, 0, false))?;
                        if matches!(info, Reply::Odd(_)) {
                            return wrong("info", info);
                        }
                        log.syncs.push(sync);
                    }
                    Some(_) => (),
                    None => return wrong("no file descriptor", flags),
                }
            }
            11 => {
                if log.syncs.len() > 1 {
                    let (one, other) = (log.syncs.len() - 1, log.syncs.len() - 2);
                    let fd = log.syncs[other].as_raw_fd();
                    match must("merge", kernel::merge(&log.syncs[one], fd, 0, 0))? {
                        Some(merged) => log.syncs[one] = merged,
                        None => return wrong("no file descriptor", ()),
                    }
                }
            }
            12 => {
                kernel::ready(dma_buf, Events::InOut, Some(rng.below(3) as u16))?;
            }
            13 => {
                // It has a handle as long as the file is open.
                let again = must("import", kernel::import(fd, dma_buf.as_raw_fd()))?;
                if again != handle {
                    return wrong("another handle of the same buffer", (again, handle));
                }
            }
            14 => own_word(field, buf, thread, &mut rng)?,
            _ => own_file(field, buf, &mut rng)?,
        }
    }
    Ok(log)
}

/// Each thread has its words of a buffer, which others leave alone.
fn own_word(field: &Field, buf: usize, thread: usize, rng: &mut Rng) -> Result<(), Wrong> {
    let map = must("map", kernel::map(&field.bufs[buf], 8192, 0, Map::ReadWrite))?;
    let at = (rng.below(2) * 4096 + thread * 2) as u64;
    let word = rng.next() as u16;
    map.write(at, word);
    thread::yield_now();
    match map.read(at) {
        read if read == word => Ok(()),
        read => wrong("what was read is not what was written", (read, word)),
    }
}

/// A file that is closed with a fence; its own buffer has to be idle then.
fn own_file(field: &Field, buf: usize, rng: &mut Rng) -> Result<(), Wrong> {
    let file = must("open", field.nodes.open(false))?;
    let (handle, ..) = must("create", kernel::create(&file, 64, 1, 32))?;
    let own = exported(&file, handle)?;
    let shared = must("import", kernel::import(&file, field.bufs[buf].as_raw_fd()))?;
    match attach(&file, shared, rng.one_in(2))? {
        Ok(1) | Err(Errno::EBUSY) => (),
        other => return wrong("attach", other),
    }
    if let Err(error) = attach(&file, handle, true)? {
        return wrong("attach to a buffer of one's own", error);
    }
    if is_idle(&own)? {
        return wrong("a buffer with a fence is idle", handle);
    }
    drop(file);
    match is_idle(&own)? {
        true => Ok(()),
        false => wrong("a buffer is busy after its file was closed", handle),
    }
}

/// Checks what threads did on their own against each other. Returns how often C let two attach
/// that exclude each other.
fn check(driver: Driver, log: &Log, end: Time) -> Result<u64, Wrong> {
    // IDs are given out once each, and none is left out.
    for file in 0..FILES {
        let ids: Vec<u32> =
            (log.held.iter()).filter(|held| held.file == file).map(|held| held.id).collect();
        let sorted: BTreeSet<u32> = ids.iter().copied().collect();
        if sorted.len() != ids.len()
            || sorted.last().is_some_and(|last| *last as usize != ids.len())
        {
            return wrong("IDs are not each used once", (file, ids));
        }
    }
    if log.is_slow(end) {
        return Ok(0);
    }

    // Each is signalled once. Who has attached one and is told that there is none is too late.
    let held: BTreeMap<_, _> = log.held.iter().map(|held| ((held.file, held.id), *held)).collect();
    let mut gone = BTreeMap::new();
    for go in &log.let_go {
        if gone.insert((go.file, go.id), go.at).is_some() {
            return wrong("a fence was signalled twice", go);
        }
        if !held.contains_key(&(go.file, go.id)) {
            return wrong("a fence was signalled that nobody attached", go);
        }
    }

    if let Some(missed) = log.missed.iter().find(|missed| !gone.contains_key(missed)) {
        return wrong("nobody signalled a fence that is not there", missed);
    }

    // When a fence was there for sure: from when the attach returned until the signal began.
    let mut defects = 0;
    let spans: Vec<_> = (log.held.iter())
        .map(|held| {
            let until = gone.get(&(held.file, held.id)).copied().unwrap_or(end);
            (*held, held.to..until)
        })
        .collect();
    for (number, (one, span)) in spans.iter().enumerate() {
        for (other, other_span) in &spans[..number] {
            let together = span.start.max(other_span.start) < span.end.min(other_span.end);
            if one.buf == other.buf && (one.write || other.write) && together {
                // C looks first, and attaches then.
                let raced = one.from < other.to && other.from < one.to;
                if driver == Driver::Rust || !raced {
                    return wrong("a writer was not alone", (one, other));
                }
                defects += 1;
            }
        }
    }
    Ok(defects)
}

/// What the whole system holds of VGEM.
pub struct Leaks {
    bufs: Option<u64>,
    users: Option<u64>,
    shmem: u64,
}

impl Leaks {
    pub fn read() -> Self {
        let number = |path: &str, before: &str| -> Option<u64> {
            let text = fs::read_to_string(path).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(before))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Self {
            bufs: number("/sys/kernel/debug/dma_buf/bufinfo", "Total "),
            users: number("/sys/module/vgem/refcnt", ""),
            shmem: number("/proc/meminfo", "Shmem:").unwrap_or(0),
        }
    }

    /// Whether there is as much as before.
    pub fn compare(&self) -> Result<(), Wrong> {
        let now = Self::read();
        if now.bufs != self.bufs {
            return wrong("DMA-BUFs are left", (self.bufs, now.bufs));
        }
        if now.users != self.users {
            return wrong("users of the module are left", (self.users, now.users));
        }
        // It is counted per CPU, and a bit later.
        if now.shmem > self.shmem + 1024 {
            return wrong("shared memory is left, in kB", (self.shmem, now.shmem));
        }
        Ok(())
    }
}
