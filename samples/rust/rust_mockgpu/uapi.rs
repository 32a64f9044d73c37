// SPDX-License-Identifier: GPL-2.0

//! The ioctls. The test client has the same in `rust_mockgpu.h`.

use super::*;

/// Creates a buffer.
#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct Create {
    /// In bytes; rounded up to pages.
    pub(super) size: u64,
    /// Returned.
    pub(super) handle: u32,
    /// Must be 0.
    pub(super) pad: u32,
}

/// The job, or the wait, is for writing to the buffer, rather than for reading.
pub(super) const BUFFER_WRITE: u32 = 1 << 0;

/// A buffer that a job uses.
#[derive(Clone, FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct BufferUse {
    pub(super) handle: u32,
    /// 0 or [`BUFFER_WRITE`].
    pub(super) flags: u32,
}

/// [`SyncPoint::handle`] is the file descriptor of a sync file; only to wait for.
pub(super) const SYNC_FILE: u32 = 0;

/// [`SyncPoint::handle`] is that of a sync object.
pub(super) const SYNC_OBJ: u32 = 1;

/// A fence to wait for, or the place for the fence of a job.
#[derive(Clone, FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct SyncPoint {
    /// [`SYNC_FILE`] or [`SYNC_OBJ`].
    pub(super) kind: u32,
    pub(super) handle: u32,
    /// The point of a timeline, or 0 for a binary sync object or a sync file.
    pub(super) point: u64,
}

/// Return a sync file with the fence of the job.
pub(super) const SUBMIT_SYNC_FILE: u32 = 1 << 0;

/// The most entries of each list.
pub(super) const MAX_COUNT: u32 = 64;

/// Submits a job.
///
/// The buffers and the places to signal get the fence of the job. The job begins when all earlier
/// ones of the file have ended and all fences to wait for are signaled, however they ended. It ends
/// with `ECANCELED` if the file is closed.
///
/// Fails with `EBUSY` if 64 jobs of the file wait behind the current one, with `ENOENT` for a
/// handle that does not exist, and with `EINTR`.
#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct Submit {
    /// Address of [`BufferUse`]s. A buffer may come again.
    pub(super) buffers: u64,
    /// Address of [`SyncPoint`]s to wait for.
    pub(super) waits: u64,
    /// Address of [`SyncPoint`]s to signal.
    pub(super) signals: u64,
    pub(super) buffer_count: u32,
    pub(super) wait_count: u32,
    pub(super) signal_count: u32,
    /// 0 or [`SUBMIT_SYNC_FILE`].
    pub(super) flags: u32,
    /// How long the hardware takes. If it is too long, the watchdog treats the hardware as hung,
    /// and the job ends with `ETIME`.
    pub(super) duration_ns: u64,
    /// Returned with [`SUBMIT_SYNC_FILE`].
    pub(super) sync_file: u32,
    /// Must be 0.
    pub(super) pad: u32,
}

/// Waits until a buffer can be read, or written to.
#[derive(FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct Wait {
    pub(super) handle: u32,
    /// 0 or [`BUFFER_WRITE`].
    pub(super) flags: u32,
    /// Of `CLOCK_MONOTONIC`. A time in the past, such as 0, polls.
    pub(super) timeout_ns: i64,
}

pub(super) const DRM_IOCTL_MOCKGPU_CREATE: u32 = ioctl::IOWR::<Create>(DRM_COMMAND_BASE);
pub(super) const DRM_IOCTL_MOCKGPU_SUBMIT: u32 = ioctl::IOWR::<Submit>(DRM_COMMAND_BASE + 1);
pub(super) const DRM_IOCTL_MOCKGPU_WAIT: u32 = ioctl::IOW::<Wait>(DRM_COMMAND_BASE + 2);

// The test client asserts the same.
static_assert!(DRM_IOCTL_MOCKGPU_CREATE == 0xc010_6440);
static_assert!(DRM_IOCTL_MOCKGPU_SUBMIT == 0xc038_6441);
static_assert!(DRM_IOCTL_MOCKGPU_WAIT == 0x4010_6442);
static_assert!(size_of::<BufferUse>() == 8 && size_of::<SyncPoint>() == 16);
