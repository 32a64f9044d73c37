// SPDX-License-Identifier: GPL-2.0

//! Fences as files, for user space.
//!
//! C header: [`include/linux/sync_file.h`](srctree/include/linux/sync_file.h)

use super::DmaFence;
use crate::{
    alloc::AllocError,
    bindings,
    ffi::c_int,
    fs::{
        file::FileDescriptorReservation,
        File, //
    },
    prelude::*,
    sync::aref::ARef,
    task::Task, //
};
use core::ptr::NonNull;

/// A file that holds a fence.
///
/// User space can poll it, query its state, merge it with others, and hand it to drivers, which
/// get the fence back through [`DmaFence::from_sync_file`].
///
/// For the fence of a job, reserve a file descriptor before the fence is armed, create the file
/// before the fence is published, and [install] it once nothing can fail; from then on user space
/// has it. If the file can't be created, signal the fence with [`ECANCELED`]; nobody has seen it.
/// Dropped before it is installed, the file is closed and the fence put.
///
/// [install]: Self::install
///
/// # Context
///
/// Process context. Dropping it closes the file, which puts the fence, later and where it may
/// sleep.
///
/// # Examples
///
/// ```no_run
/// use kernel::{
///     dma_fence::{
///         DmaFence,
///         SyncFile, //
///     },
///     fs::file::{
///         flags::O_CLOEXEC,
///         FileDescriptorReservation, //
///     },
/// };
///
/// fn export(fence: &DmaFence) -> Result<u32> {
///     let fd = FileDescriptorReservation::get_unused_fd_flags(O_CLOEXEC)?;
///     let file = SyncFile::new(fence)?;
///
///     Ok(file.install(fd))
/// }
/// ```
///
/// # Invariants
///
/// `self.0` is the file of a `struct sync_file`.
#[must_use = "the file is closed when this is dropped"]
pub struct SyncFile(ARef<File>);

impl SyncFile {
    /// Creates a file that holds `fence`. Wraps `sync_file_create()`.
    ///
    /// # Context
    ///
    /// May sleep, and must not be called between the publication and the signaling of a fence.
    ///
    /// # Errors
    ///
    /// [`AllocError`] if there is no memory or the system has too many files open; C returns the
    /// same for both.
    pub fn new(fence: &DmaFence) -> Result<Self, AllocError> {
        // SAFETY: By its type invariant, `fence` is valid. C gets its own reference.
        let sync_file = unsafe { bindings::sync_file_create(fence.as_raw()) };
        let sync_file = NonNull::new(sync_file).ok_or(AllocError)?;

        // CAST: `File` is a transparent wrapper of `struct file`.
        // SAFETY: `sync_file` is valid, and has a file.
        let file = unsafe { NonNull::new_unchecked((*sync_file.as_ptr()).file).cast() };

        // INVARIANT: `file` is that of `sync_file`.
        // SAFETY: The file was just created, and the `ARef` takes over its only reference. No
        // thread knows it yet, so none is in `fdget_pos()`.
        Ok(Self(unsafe { ARef::from_raw(file) }))
    }

    /// Gives the file to user space, under the reserved file descriptor, which is returned. Wraps
    /// `fd_install()`.
    ///
    /// User space may close it at once.
    ///
    /// # Context
    ///
    /// Process context, in the thread that made the reservation.
    #[inline]
    pub fn install(self, fd: FileDescriptorReservation) -> u32 {
        let number = fd.reserved_fd();
        fd.fd_install(self.0);
        number
    }
}

/// # Files
impl DmaFence {
    /// Returns the fence in the file that the thread has under the file descriptor, or [`None`] if
    /// there is no such file, as in a thread that exits, or it holds no fence. Wraps
    /// `sync_file_get_fence()`.
    ///
    /// As it comes from user space, it may be any fence: an array or a chain, and one that the
    /// driver itself has emitted.
    ///
    /// # Context
    ///
    /// Process context.
    #[inline]
    pub fn from_sync_file(fd: u32) -> Option<ARef<Self>> {
        // A thread that exits has no files any more when the last of them are closed, which may be
        // where the caller is. C does not look.
        //
        // SAFETY: The current task is valid, and no other one changes its `files`.
        if unsafe { (*Task::current_raw()).files }.is_null() {
            return None;
        }

        // CAST: C makes it unsigned again to look it up.
        // SAFETY: `sync_file_get_fence()` takes any number.
        let fence = unsafe { bindings::sync_file_get_fence(fd as c_int) };

        // CAST: `DmaFence` is a transparent wrapper of `struct dma_fence`.
        // SAFETY: C returns a reference, which the `ARef` takes over.
        NonNull::new(fence).map(|fence| unsafe { ARef::from_raw(fence.cast()) })
    }
}
