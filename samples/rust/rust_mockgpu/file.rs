// SPDX-License-Identifier: GPL-2.0

//! A client and its ioctls.

use super::*;

/// A client.
pub(super) struct File {
    queue: Arc<Queue>,
}

/// The DRM file of a client.
type DrmFile = drm::File<File>;

impl drm::file::DriverFile for File {
    type Driver = MockGpu;

    fn open(dev: &Device) -> Result<Pin<KBox<Self>>> {
        let queue = Queue::new(dev)?;
        Ok(KBox::pin(Self { queue }, GFP_KERNEL)?)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl File {
    /// Creates a buffer.
    pub(super) fn create(dev: &Device, args: &mut Create, file: &DrmFile) -> Result<u32> {
        let size = usize::try_from(args.size)?;
        if size == 0 || args.pad != 0 {
            return Err(EINVAL);
        }

        let object = Object::new(dev, size, Default::default(), ())?;
        args.handle = object.create_handle(file)?;

        Ok(0)
    }

    /// Submits a job.
    pub(super) fn submit(_dev: &Device, args: &mut Submit, file: &DrmFile) -> Result<u32> {
        if args.flags & !SUBMIT_SYNC_FILE != 0 || args.pad != 0 {
            return Err(EINVAL);
        }
        let duration = time::Delta::from_nanos(i64::try_from(args.duration_ns)?);

        // All that user space can get wrong comes first, and all that can fail comes before others
        // get to see the fence. What stays until the job has ended is charged to the client.
        let mut waits = KVVec::<ARef<DmaFence>>::new();
        for sync in &read_list(args.waits, args.wait_count)? {
            waits.push(find_fence(file, sync)?, GFP_KERNEL_ACCOUNT)?;
        }

        let mut signals = KVec::new();
        for sync in &read_list::<SyncPoint>(args.signals, args.signal_count)? {
            let node = match (sync.kind, sync.point) {
                (SYNC_OBJ, 0) => None,
                (SYNC_OBJ, _) => Some(UnarmedChainNode::new(GFP_KERNEL_ACCOUNT)?),
                _ => return Err(EINVAL),
            };
            let syncobj = SyncObj::find(file, sync.handle).ok_or(ENOENT)?;
            signals.push((syncobj, node, sync.point), GFP_KERNEL)?;
        }

        let mut list = read_list::<BufferUse>(args.buffers, args.buffer_count)?;
        // Of a buffer that comes again, the first one counts, so those to write to come first.
        list.sort_unstable_by_key(|buffer| buffer.flags == 0);
        let mut objects = KVec::with_capacity(list.len(), GFP_KERNEL_ACCOUNT)?;
        for buffer in &list {
            let object = Object::lookup_handle(file, buffer.handle)?;
            objects.push((object, is_write(buffer.flags)?), GFP_KERNEL_ACCOUNT)?;
        }

        let buffers = Buffers::new(objects)?;
        let unarmed = UnarmedDmaFence::new(GFP_KERNEL_ACCOUNT)?;
        let fd = match args.flags & SUBMIT_SYNC_FILE {
            0 => None,
            _ => Some(FileDescriptorReservation::get_unused_fd_flags(O_CLOEXEC)?),
        };

        let queue = &file.inner().get_ref().queue;
        let sync_file = lock_many_interruptible(buffers.resvs(), |guards| {
            let mut slots = KVec::with_capacity(guards.len(), GFP_KERNEL)?;
            for (guard, write) in guards {
                for (fence, _) in guard.iter(Usage::implicit(*write)) {
                    if !fence.is_signaled() {
                        waits.push(fence.into(), GFP_KERNEL_ACCOUNT)?;
                    }
                }
                let usage = if *write { Usage::Write } else { Usage::Read };
                slots.push((guard.reserve_one()?, usage), GFP_KERNEL)?;
            }

            // Jobs are queued in the order of their fences, so this is held until the job is.
            let mut timeline = queue.timeline()?;
            // The queue keeps the order of its own jobs.
            waits.retain(|fence| fence.context() != timeline.context());
            let fence = timeline.arm(unarmed);
            // The one thing that takes an armed fence and can fail. If it does, nobody has seen the
            // fence, which is signaled, as it must not be dropped before.
            let sync_file = match fd.as_ref().map(|_| SyncFile::new(&fence)).transpose() {
                Ok(sync_file) => sync_file,
                Err(error) => {
                    fence.signal(Err(ECANCELED));
                    return Err(error.into());
                }
            };

            // From here on others see the fence, so nothing may fail, allocate or wait until the
            // queue has the job. That may end before this does, which needs the buffers to unlock
            // them.
            signalling(|| {
                for (slot, usage) in slots {
                    slot.add(&fence, usage);
                }
                for (syncobj, node, point) in signals {
                    match node {
                        None => syncobj.replace_fence(Some(&fence)),
                        // This does not fail, as the fence is no chain.
                        Some(node) => drop(syncobj.add_point(node, &fence, point)),
                    }
                }
                let job = Job {
                    fence,
                    waits,
                    buffers: buffers.clone(),
                    duration,
                };
                Queue::push(queue, &timeline, job);
            });
            Ok(sync_file)
        })?;

        if let (Some(sync_file), Some(fd)) = (sync_file, fd) {
            args.sync_file = sync_file.install(fd);
        }

        Ok(0)
    }

    /// Waits until a buffer can be read, or written to.
    pub(super) fn wait(_dev: &Device, args: &mut Wait, file: &DrmFile) -> Result<u32> {
        let usage = Usage::implicit(is_write(args.flags)?);
        let object = Object::lookup_handle(file, args.handle)?;
        let timeout = drm::timeout_abs_to_jiffies(args.timeout_ns);

        object.resv().wait_interruptible_timeout(usage, timeout)?;
        Ok(0)
    }
}

/// Returns whether the flags of a buffer say that it is written to.
fn is_write(flags: u32) -> Result<bool> {
    let valid = flags & !BUFFER_WRITE == 0;
    valid.then_some(flags != 0).ok_or(EINVAL)
}

/// Copies a list from user space.
fn read_list<T: Clone + FromBytes + IntoBytes>(address: u64, count: u32) -> Result<KVec<T>> {
    match count {
        0 => return Ok(KVec::new()),
        1..=MAX_COUNT => (),
        _ => return Err(EINVAL),
    }

    // CAST: The count was limited above.
    let mut list = KVec::from_elem(T::new_zeroed(), count as usize, GFP_KERNEL)?;
    let bytes = list.as_mut_bytes();
    let from = uaccess::UserPtr::from_addr(address.try_into()?);
    let mut reader = uaccess::UserSlice::new(from, bytes.len()).reader();
    reader.read_slice(bytes)?;

    Ok(list)
}

/// Returns a fence that user space wants a job to wait for.
fn find_fence(file: &DrmFile, sync: &SyncPoint) -> Result<ARef<DmaFence>> {
    match (sync.kind, sync.point) {
        (SYNC_FILE, 0) => DmaFence::from_sync_file(sync.handle).ok_or(EINVAL),
        (SYNC_OBJ, point) => SyncObj::find_fence(file, sync.handle, point),
        _ => Err(EINVAL),
    }
}
