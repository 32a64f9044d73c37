// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM sync objects.
//!
//! A sync object holds a fence, or none yet. User space makes it, knows it by a handle, and names
//! it to drivers: as what a job has to wait for, or as where to put the fence of a job.
//!
//! A sync object can be a timeline, too. Then the fence is a chain, and the sequence numbers in it
//! are the *points* of the timeline.
//!
//! C header: [`include/drm/drm_syncobj.h`](srctree/include/drm/drm_syncobj.h)

use crate::{
    bindings,
    dma_fence::{
        DmaFence,
        InvalidChain,
        UnarmedChainNode, //
    },
    drm::{
        self,
        file::DriverFile, //
    },
    error::to_result,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    },
};
use core::ptr::{
    self,
    NonNull, //
};

/// A DRM sync object.
///
/// Processes and drivers share it, so the fence in it may be any: of another driver, an array or a
/// chain. They may replace it at any time, so get it once, and use what you got.
///
/// It may outlive the file, the device and the module that made it.
///
/// It can be used, and its references be dropped, only by the thread that looked it up or created
/// it. C takes the sync object's lock with interrupts on, so interrupt handlers and timers must not
/// use it; what they use must be [`Send`] or [`Sync`], which this is not. Look it up when a job
/// is submitted, and put the fence of the job into it then.
///
/// # Context
///
/// Process context. With the lock held, C queries fences, which may run their callbacks. So hold no
/// lock that these take. Nothing sleeps, unless it says so.
///
/// # Examples
///
/// ```no_run
/// use kernel::{
///     dma_fence::DmaFence,
///     drm::{
///         self,
///         file::DriverFile,
///         SyncObj, //
///     },
///     sync::aref::ARef, //
/// };
///
/// /// Runs a job after the fence in one sync object, and puts the fence of the job into another.
/// fn submit<F: DriverFile>(
///     file: &drm::File<F>,
///     wait_for: u32,
///     signal: u32,
///     run_after: impl FnOnce(ARef<DmaFence>) -> Result<ARef<DmaFence>>,
/// ) -> Result {
///     // All that user space can get wrong comes first.
///     let in_fence = SyncObj::find_fence(file, wait_for, 0)?;
///     let out = SyncObj::find(file, signal).ok_or(ENOENT)?;
///
///     out.replace_fence(Some(&*run_after(in_fence)?));
///
///     Ok(())
/// }
/// ```
///
/// # Invariants
///
/// `self.0` is an initialized `struct drm_syncobj` with a non-zero reference count.
#[repr(transparent)]
pub struct SyncObj(Opaque<bindings::drm_syncobj>, NotThreadSafe);

// SAFETY: `drm_syncobj_get()` and `drm_syncobj_put()` maintain the reference count of the
// `struct drm_syncobj`, which is not freed while it is non-zero.
unsafe impl AlwaysRefCounted for SyncObj {
    #[inline]
    fn inc_ref(&self) {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid sync object.
        unsafe { bindings::drm_syncobj_get(self.as_raw()) };
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // CAST: `SyncObj` is a transparent wrapper of `struct drm_syncobj`.
        // SAFETY: `obj` is valid, and the caller gives up a reference of it.
        unsafe { bindings::drm_syncobj_put(obj.cast().as_ptr()) };
    }
}

/// Returns the `struct drm_file` of a driver that supports sync objects.
///
/// The files of others have a table of sync objects that is not initialized.
#[inline]
fn file_as_raw<F: DriverFile>(file: &drm::File<F>) -> *mut bindings::drm_file {
    const_assert!(
        <F::Driver as drm::Driver>::FEAT_SYNCOBJ,
        "only drivers with FEAT_SYNCOBJ have sync objects"
    );

    file.as_raw()
}

impl SyncObj {
    /// Creates a sync object, which holds `fence` if there is one. Wraps `drm_syncobj_create()`.
    ///
    /// # Context
    ///
    /// May sleep, and must not be called between the publication and the signaling of a fence.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if there is no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{
    ///     dma_fence::DmaFence,
    ///     drm::SyncObj, //
    /// };
    ///
    /// let syncobj = SyncObj::new(None)?;
    /// assert!(syncobj.fence().is_none());
    ///
    /// syncobj.replace_fence(Some(&*DmaFence::stub()));
    /// assert!(syncobj.fence().is_some_and(|fence| fence.is_signaled()));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn new(fence: Option<&DmaFence>) -> Result<ARef<Self>> {
        let mut syncobj = ptr::null_mut();

        // SAFETY: `syncobj` can be written to. The fence is null or, by its type invariant, valid;
        // C gets its own reference.
        to_result(unsafe {
            bindings::drm_syncobj_create(
                &mut syncobj,
                0,
                fence.map_or(ptr::null_mut(), DmaFence::as_raw),
            )
        })?;

        // CAST: `SyncObj` is a transparent wrapper of `struct drm_syncobj`.
        // SAFETY: C succeeded, so `syncobj` is not null, and the `ARef` takes over its initial
        // reference.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(syncobj).cast()) })
    }

    /// Returns the raw pointer to the `struct drm_syncobj`.
    #[inline]
    fn as_raw(&self) -> *mut bindings::drm_syncobj {
        self.0.get()
    }

    /// Returns the sync object that has the handle in the file, or [`None`] if there is none. Wraps
    /// `drm_syncobj_find()`.
    ///
    /// Does not compile for drivers without [`FEAT_SYNCOBJ`].
    ///
    /// # Context
    ///
    /// That of [`SyncObj`](Self#context).
    ///
    /// [`FEAT_SYNCOBJ`]: drm::Driver::FEAT_SYNCOBJ
    #[inline]
    pub fn find<F: DriverFile>(file: &drm::File<F>, handle: u32) -> Option<ARef<Self>> {
        // SAFETY: The file is open and has a table of sync objects. C takes any handle.
        let syncobj = unsafe { bindings::drm_syncobj_find(file_as_raw(file), handle) };

        // CAST: `SyncObj` is a transparent wrapper of `struct drm_syncobj`.
        // SAFETY: C returns a reference, which the `ARef` takes over.
        NonNull::new(syncobj).map(|syncobj| unsafe { ARef::from_raw(syncobj.cast()) })
    }

    /// Returns the fence that is signaled with `point` of the sync object that has the handle in
    /// the file. Wraps `drm_syncobj_find_fence()`.
    ///
    /// A `point` of zero stands for the fence in the sync object, whatever it is. If all up to
    /// another `point` were signaled and dropped from the chain, it is a [stub](DmaFence::stub).
    ///
    /// This does not wait for user space to submit a fence, as C does with
    /// `DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT`: no lock may be held then, and a handler
    /// of a registered device is in a `drm_dev_enter()` section, which counts as one.
    ///
    /// Does not compile for drivers without [`FEAT_SYNCOBJ`].
    ///
    /// # Context
    ///
    /// That of [`SyncObj`](Self#context).
    ///
    /// # Errors
    ///
    /// - [`ENOENT`] if there is no such handle.
    /// - [`EINVAL`] if there is no fence in the sync object, or it has not come to `point` yet.
    ///
    /// [`FEAT_SYNCOBJ`]: drm::Driver::FEAT_SYNCOBJ
    pub fn find_fence<F: DriverFile>(
        file: &drm::File<F>,
        handle: u32,
        point: u64,
    ) -> Result<ARef<DmaFence>> {
        let file = file_as_raw(file);
        let mut fence = ptr::null_mut();

        // SAFETY: The file is open and has a table of sync objects. C takes any handle and point.
        // `fence` can be written to.
        to_result(unsafe { bindings::drm_syncobj_find_fence(file, handle, point, 0, &mut fence) })?;

        // If C fails, it may leave a fence there that it has put.
        //
        // CAST: `DmaFence` is a transparent wrapper of `struct dma_fence`.
        // SAFETY: C succeeded, so `fence` is not null, and the `ARef` takes over the reference to
        // it.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(fence).cast()) })
    }

    /// Gives user space the sync object, under a handle in the file, which is returned. Wraps
    /// `drm_syncobj_get_handle()`.
    ///
    /// User space may guess the handle, and so use and destroy it at once.
    ///
    /// Does not compile for drivers without [`FEAT_SYNCOBJ`].
    ///
    /// # Context
    ///
    /// May sleep, and must not be called between the publication and the signaling of a fence.
    ///
    /// # Errors
    ///
    /// - [`ENOMEM`] if there is no memory.
    /// - [`EBUSY`] if the file has no handle left.
    ///
    /// [`FEAT_SYNCOBJ`]: drm::Driver::FEAT_SYNCOBJ
    pub fn create_handle<F: DriverFile>(&self, file: &drm::File<F>) -> Result<u32> {
        let file = file_as_raw(file);
        let mut handle = 0;

        // SAFETY: The file is open and has a table of sync objects. By the type invariant,
        // `self.as_raw()` is a valid sync object; C gets its own reference. `handle` can be written
        // to.
        to_result(unsafe { bindings::drm_syncobj_get_handle(file, self.as_raw(), &mut handle) })?;

        Ok(handle)
    }

    /// Returns the fence in the sync object, or [`None`] if there is none. Wraps
    /// `drm_syncobj_fence_get()`.
    ///
    /// # Context
    ///
    /// That of [`SyncObj`](Self#context).
    #[inline]
    pub fn fence(&self) -> Option<ARef<DmaFence>> {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid sync object.
        let fence = unsafe { bindings::drm_syncobj_fence_get(self.as_raw()) };

        // CAST: `DmaFence` is a transparent wrapper of `struct dma_fence`.
        // SAFETY: C returns a reference, which the `ARef` takes over.
        NonNull::new(fence).map(|fence| unsafe { ARef::from_raw(fence.cast()) })
    }

    /// Puts `fence` into the sync object, or empties it, and drops the fence that was there. Wraps
    /// `drm_syncobj_replace_fence()`.
    ///
    /// Threads that wait for the old fence continue to wait for it; those that wait for a fence to
    /// be submitted are woken.
    ///
    /// This publishes `fence`: user space can wait for it, so it must be signaled in time.
    /// Neither fails nor allocates, so it can come after the point of no return.
    ///
    /// # Context
    ///
    /// That of [`SyncObj`](Self#context).
    #[inline]
    pub fn replace_fence(&self, fence: Option<&DmaFence>) {
        // SAFETY: By the type invariant, `self.as_raw()` is a valid sync object. The fence is null
        // or, by its type invariant, valid; C gets its own reference.
        unsafe {
            bindings::drm_syncobj_replace_fence(
                self.as_raw(),
                fence.map_or(ptr::null_mut(), DmaFence::as_raw),
            )
        };
    }

    /// Continues the timeline: puts a chain into the sync object that is signaled when `fence`
    /// is and, if there is one, the fence that was there. Wraps `drm_syncobj_add_point()`.
    ///
    /// `point` should be greater than those before it; user space decides that, so it may not be.
    /// Then the sync object stays at the point that it had come to, and to wait for any point up to
    /// that is to wait for `fence` too. Drivers treat a point of zero from user space as that of a
    /// binary sync object, and call [`replace_fence`](Self::replace_fence).
    ///
    /// This publishes `fence`: user space can wait for it, so it must be signaled in time. As
    /// all memory is in `node`, it can come after the point of no return. User space can make use
    /// of points only if the driver has [`FEAT_SYNCOBJ_TIMELINE`].
    ///
    /// # Context
    ///
    /// That of [`SyncObj`](Self#context).
    ///
    /// # Errors
    ///
    /// [`InvalidChain`], i.e. [`EINVAL`], if `fence` is a chain; see [`UnarmedChainNode::link`].
    /// Nothing has changed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{
    ///     dma_fence::UnarmedChainNode,
    ///     drm::SyncObj, //
    /// };
    /// # use kernel::dma_fence::{DmaFenceCtx, DmaFenceNames, UnarmedDmaFence};
    ///
    /// # let mut ctx = DmaFenceCtx::new(DmaFenceNames::new(c"example", c"ring0")?);
    /// # let fence = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
    /// let timeline = SyncObj::new(None)?;
    /// timeline.add_point(UnarmedChainNode::new(GFP_KERNEL)?, &fence, 7)?;
    ///
    /// let chain = timeline.fence().ok_or(EINVAL)?;
    /// assert_eq!(chain.seqno(), 7);
    /// assert!(!chain.is_signaled());
    ///
    /// fence.signal(Ok(()));
    /// assert!(chain.is_signaled());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// [`FEAT_SYNCOBJ_TIMELINE`]: drm::Driver::FEAT_SYNCOBJ_TIMELINE
    pub fn add_point(
        &self,
        node: UnarmedChainNode,
        fence: &DmaFence,
        point: u64,
    ) -> Result<(), InvalidChain> {
        if fence.is_chain() {
            return Err(InvalidChain {
                node,
                prev: None,
                fence: fence.into(),
            });
        }

        // SAFETY:
        // - By the type invariant, `self.as_raw()` is a valid sync object.
        // - `node` is an allocation from `Kmalloc`, which C takes over, and initializes.
        // - By its type invariant, `fence` is valid. It is no chain. C gets its own reference.
        unsafe {
            bindings::drm_syncobj_add_point(self.as_raw(), node.into_raw(), fence.as_raw(), point)
        };

        Ok(())
    }
}

#[cfg(CONFIG_RUST_DRM_SYNCOBJ_KUNIT_TEST)]
#[kunit_tests(rust_drm_syncobj)]
mod tests {
    use super::*;
    use crate::{
        device,
        dma_fence::{
            DmaFenceCtx,
            DmaFenceNames,
            DriverDmaFence,
            UnarmedDmaFence, //
        },
        drm::gem,
        error::from_err_ptr,
        faux,
        sync::{
            Arc,
            Completion, //
        },
        workqueue, //
    };

    struct KunitDriver;
    struct KunitFile;
    struct KunitObject;

    impl DriverFile for KunitFile {
        type Driver = KunitDriver;

        fn open(_dev: &drm::Device<KunitDriver>) -> Result<Pin<KBox<Self>>> {
            Ok(KBox::new(Self, GFP_KERNEL)?.into())
        }
    }

    #[vtable]
    impl gem::DriverObject for KunitObject {
        type Driver = KunitDriver;
        type Args = ();

        fn new(_: &drm::Device<KunitDriver>, _: usize, (): ()) -> impl PinInit<Self, Error> {
            Ok(Self)
        }
    }

    #[vtable]
    impl drm::Driver for KunitDriver {
        type Data = ();
        type RegistrationData<'a> = ();
        type File = KunitFile;
        type Object = gem::Object<KunitObject>;
        type ParentDevice<Ctx: device::DeviceContext> = faux::Device<Ctx>;

        const INFO: drm::DriverInfo = drm::DriverInfo {
            major: 0,
            minor: 0,
            patchlevel: 0,
            name: c"kunit",
            desc: c"Kunit",
        };

        const IOCTLS: &'static [drm::ioctl::DrmIoctlDescriptor<Self>] = &[];

        const FEAT_SYNCOBJ: bool = true;
        const FEAT_SYNCOBJ_TIMELINE: bool = true;
    }

    /// A client of a registered device.
    struct Client {
        file: NonNull<bindings::file>,
        _reg: drm::FauxRegistration<KunitDriver>,
    }

    impl Client {
        fn new(name: &CStr) -> Result<Self> {
            let parent = faux::Registration::new(name, None)?;
            let drm = drm::UnregisteredDevice::<KunitDriver>::new(parent.as_ref(), Ok(()))?;
            let reg = drm::FauxRegistration::new(parent, drm, Ok::<(), Error>(()), 0)?;

            // SAFETY: The device is registered, so it has a primary node.
            let file = from_err_ptr(unsafe {
                bindings::mock_drm_getfile((*reg.device().as_raw()).primary, bindings::O_RDWR)
            })?;
            let file = NonNull::new(file).ok_or(ENOMEM)?;

            Ok(Self { file, _reg: reg })
        }

        fn file(&self) -> &drm::File<KunitFile> {
            // SAFETY: The file is open, and is that of a device of the `KunitDriver`.
            unsafe { drm::File::from_raw((*self.file.as_ptr()).private_data.cast()) }
        }
    }

    impl Drop for Client {
        fn drop(&mut self) {
            // SAFETY: The reference is ours. KUnit's threads belong to the kernel.
            unsafe { bindings::__fput_sync(self.file.as_ptr()) };
        }
    }

    fn fence() -> Result<DriverDmaFence> {
        let ctx = DmaFenceCtx::new(DmaFenceNames::new(c"kunit", c"syncobj")?);

        Ok(ctx.arm_last(UnarmedDmaFence::new(GFP_KERNEL)?))
    }

    fn add_point(syncobj: &SyncObj, fence: &DmaFence, point: u64) -> Result {
        Ok(syncobj.add_point(UnarmedChainNode::new(GFP_KERNEL)?, fence, point)?)
    }

    /// Whether `fence` is made of these, in this order.
    fn is_made_of(fence: &DmaFence, parts: &[&DmaFence]) -> bool {
        let same = |(found, part): (ARef<DmaFence>, &&DmaFence)| ptr::eq(&*found, *part);

        fence.unwrap_iter().count() == parts.len() && fence.unwrap_iter().zip(parts).all(same)
    }

    /// Returns how many references there are to a fence.
    fn fence_refs(fence: &DmaFence) -> i32 {
        // SAFETY: `fence` is valid. No other thread knows it.
        unsafe { (*fence.as_raw()).refcount.refcount.refs.counter }
    }

    /// Returns how many references there are to a sync object.
    fn syncobj_refs(syncobj: &SyncObj) -> i32 {
        // SAFETY: `syncobj` is valid. No other thread knows it.
        unsafe { (*syncobj.as_raw()).refcount.refcount.refs.counter }
    }

    #[test]
    fn replace() -> Result {
        let (a, b) = (fence()?, fence()?);
        let refs = fence_refs(&a);

        let syncobj = SyncObj::new(Some(&*a))?;
        assert_eq!(fence_refs(&a), refs + 1);
        let got = syncobj.fence().ok_or(EINVAL)?;
        assert!(ptr::eq(&*got, &*a));
        assert_eq!(fence_refs(&a), refs + 2);

        // What was there stays as it is.
        syncobj.replace_fence(Some(&*b));
        assert_eq!(fence_refs(&a), refs + 1);
        assert!(!got.is_signaled());
        assert!(ptr::eq(&*syncobj.fence().ok_or(EINVAL)?, &*b));

        // Itself, signaled or not.
        syncobj.replace_fence(Some(&*b));
        assert_eq!(fence_refs(&b), refs + 1);
        let shared = ARef::<DmaFence>::from(&*b);
        b.signal(Err(ENODATA));
        syncobj.replace_fence(Some(&*shared));
        let got = syncobj.fence().ok_or(EINVAL)?;
        assert!(got.status() == Some(Err(ENODATA)));

        syncobj.replace_fence(None);
        assert!(syncobj.fence().is_none());
        syncobj.replace_fence(None);
        assert!(syncobj.fence().is_none());

        // Dropped with the sync object, which all of its references keep.
        syncobj.replace_fence(Some(&*a));
        let other = syncobj.clone();
        drop(syncobj);
        assert!(ptr::eq(&*other.fence().ok_or(EINVAL)?, &*a));
        let used = fence_refs(&a);
        drop(other);
        assert_eq!(fence_refs(&a), used - 1);

        a.signal(Ok(()));

        Ok(())
    }

    #[test]
    fn handles() -> Result {
        let client = Client::new(c"kunit-syncobj")?;
        let stranger = Client::new(c"kunit-syncobj-stranger")?;
        let file = client.file();

        // There are none yet.
        for handle in [0, 1, 2, u32::MAX] {
            assert!(SyncObj::find(file, handle).is_none());
        }

        let (one, two) = (SyncObj::new(None)?, SyncObj::new(None)?);
        let one_handle = one.create_handle(file)?;
        let two_handle = two.create_handle(file)?;
        // User space treats zero as no handle.
        assert!(one_handle != 0 && two_handle != 0);
        assert!(one_handle != two_handle);
        assert_eq!(syncobj_refs(&one), 2);

        let found = SyncObj::find(file, one_handle).ok_or(ENOENT)?;
        assert!(ptr::eq(&*found, &*one));
        assert_eq!(syncobj_refs(&one), 3);
        assert!(ptr::eq(
            &*SyncObj::find(file, two_handle).ok_or(ENOENT)?,
            &*two,
        ));
        for handle in [0, two_handle + 1, u32::MAX] {
            assert!(SyncObj::find(file, handle).is_none());
        }

        // Handles are those of one file, sync objects of all.
        assert!(SyncObj::find(stranger.file(), one_handle).is_none());
        let handle = one.create_handle(stranger.file())?;
        let shared = SyncObj::find(stranger.file(), handle).ok_or(ENOENT)?;
        shared.replace_fence(Some(&*DmaFence::stub()));
        assert!(one.fence().is_some());

        // Closing the files drops the handles.
        drop((found, shared));
        assert_eq!(syncobj_refs(&one), 3);
        drop(stranger);
        assert_eq!(syncobj_refs(&one), 2);
        drop(client);
        assert_eq!(syncobj_refs(&one), 1);
        assert_eq!(syncobj_refs(&two), 1);

        Ok(())
    }

    #[test]
    fn find_fence() -> Result {
        let client = Client::new(c"kunit-syncobj")?;
        let syncobj = SyncObj::new(None)?;
        let handle = syncobj.create_handle(client.file())?;
        let find = |point| SyncObj::find_fence(client.file(), handle, point);

        let unknown = SyncObj::find_fence(client.file(), handle + 1, 0);
        assert_eq!(unknown.err(), Some(ENOENT));

        // Not submitted.
        assert_eq!(find(0).err(), Some(EINVAL));
        assert_eq!(find(1).err(), Some(EINVAL));

        let fence = fence()?;
        let shared = ARef::<DmaFence>::from(&*fence);
        let refs = fence_refs(&shared);
        syncobj.replace_fence(Some(&*fence));
        let found = find(0)?;
        assert!(ptr::eq(&*found, &*shared));
        assert!(!found.is_signaled());

        // Not a timeline. Repeat it, to see that a fence that was not found is not put.
        for _ in 0..3 {
            assert_eq!(find(1).err(), Some(EINVAL));
            assert_eq!(fence_refs(&shared), refs + 2);
        }

        fence.signal(Ok(()));
        assert!(ptr::eq(&*find(0)?, &*shared));
        assert!(found.is_signaled());

        assert_eq!(syncobj_refs(&syncobj), 2);

        Ok(())
    }

    #[test]
    fn points() -> Result {
        let client = Client::new(c"kunit-syncobj")?;
        let timeline = SyncObj::new(None)?;
        let handle = timeline.create_handle(client.file())?;
        let find = |point| SyncObj::find_fence(client.file(), handle, point);

        let (a, b) = (fence()?, fence()?);
        let shared = ARef::<DmaFence>::from(&*a);
        let refs = fence_refs(&a);
        add_point(&timeline, &a, 1)?;
        add_point(&timeline, &b, 3)?;
        assert_eq!(fence_refs(&a), refs + 1);

        let (last, one, two, three) = (find(0)?, find(1)?, find(2)?, find(3)?);
        assert_eq!(one.seqno(), 1);
        assert!(is_made_of(&one, &[&a]));
        // There is no separate fence for this point.
        assert!(ptr::eq(&*two, &*three));
        assert_eq!(three.seqno(), 3);
        assert!(is_made_of(&three, &[&b, &a]));
        assert!(ptr::eq(&*last, &*three));
        assert!(three.is_later_than(&one) == Some(true));
        assert_eq!(find(4).err(), Some(EINVAL));
        assert_eq!(find(u64::MAX).err(), Some(EINVAL));

        b.signal(Ok(()));
        assert!(!one.is_signaled() && !three.is_signaled());
        a.signal(Ok(()));
        assert!(one.is_signaled() && three.is_signaled());

        // What is signaled is dropped from the chain, but its points remain.
        drop((last, one, two, three));
        assert!(ptr::eq(&*find(1)?, &*DmaFence::stub()));
        assert!(find(3)?.is_signaled());
        assert_eq!(find(4).err(), Some(EINVAL));
        let signaled = fence_refs(&shared);

        // A binary fence ends the timeline.
        timeline.replace_fence(Some(&*shared));
        assert_eq!(fence_refs(&shared), signaled + 1);
        assert_eq!(find(1).err(), Some(EINVAL));

        Ok(())
    }

    // User space chooses the points, so C has to cope with any.
    #[test]
    fn points_out_of_order() -> Result {
        let client = Client::new(c"kunit-syncobj")?;
        let timeline = SyncObj::new(None)?;
        let handle = timeline.create_handle(client.file())?;
        let find = |point| SyncObj::find_fence(client.file(), handle, point);

        let (a, b, c) = (fence()?, fence()?, fence()?);
        add_point(&timeline, &a, 5)?;
        let five = find(5)?;

        add_point(&timeline, &b, 3)?;
        let three = find(3)?;
        assert!(three.context() != five.context());
        // It does not go back, and all that was before comes with it.
        assert_eq!(three.seqno(), 5);
        assert!(ptr::eq(&*find(5)?, &*three));
        assert_eq!(find(6).err(), Some(EINVAL));

        add_point(&timeline, &c, 0)?;
        assert_eq!(find(0)?.seqno(), 5);

        b.signal(Ok(()));
        assert!(!three.is_signaled());
        a.signal(Ok(()));
        assert!(five.is_signaled() && three.is_signaled());
        assert!(!find(5)?.is_signaled());
        c.signal(Ok(()));
        assert!(find(5)?.is_signaled());

        // From here, nothing is in order any more.
        for _ in 0..3 {
            add_point(&timeline, &DmaFence::stub(), u64::MAX)?;
            assert_eq!(find(u64::MAX)?.seqno(), u64::MAX);
        }

        Ok(())
    }

    // As C's find_out_of_order.
    #[test]
    fn signaled_out_of_order() -> Result {
        let client = Client::new(c"kunit-syncobj")?;
        let timeline = SyncObj::new(None)?;
        let handle = timeline.create_handle(client.file())?;
        let find = |point| SyncObj::find_fence(client.file(), handle, point);

        let (a, b, c) = (fence()?, fence()?, fence()?);
        add_point(&timeline, &a, 1)?;
        add_point(&timeline, &b, 2)?;
        add_point(&timeline, &c, 3)?;

        // Of the second point, what is left to wait for is the first.
        b.signal(Ok(()));
        assert!(ptr::eq(&*find(2)?, &*find(1)?));
        assert_eq!(find(2)?.seqno(), 1);
        let three = find(3)?;
        assert!(is_made_of(&three, &[&c, &a]));
        drop(three);

        a.signal(Ok(()));
        assert!(ptr::eq(&*find(2)?, &*DmaFence::stub()));
        assert!(!find(3)?.is_signaled());
        c.signal(Ok(()));
        assert!(find(3)?.is_signaled());

        Ok(())
    }

    // As C's find_race.
    #[test]
    fn find_against_signal() -> Result {
        const POINTS: u64 = 64;

        let client = Client::new(c"kunit-syncobj")?;
        let timeline = SyncObj::new(None)?;
        let handle = timeline.create_handle(client.file())?;
        let find = |point| SyncObj::find_fence(client.file(), handle, point);

        for _ in 0..20 {
            let mut fences = KVec::new();
            timeline.replace_fence(None);
            for point in 1..=POINTS {
                let fence = fence()?;
                add_point(&timeline, &fence, point)?;
                fences.push(fence, GFP_KERNEL)?;
            }
            let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
            let signaled = done.clone();
            workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
                // Not in order.
                while let Ok(fence) = fences.remove(fences.len() * 5 / 8) {
                    fence.signal(Ok(()));
                }
                signaled.complete_all();
            })?;

            for point in 1..=POINTS {
                let found = find(point)?;
                assert!(found.is_signaled() || found.seqno() <= point);
            }
            done.wait_for_completion();
            for point in 1..=POINTS {
                assert!(find(point)?.is_signaled());
            }
        }

        Ok(())
    }

    #[test]
    fn invalid_point() -> Result {
        let (a, b) = (fence()?, fence()?);
        let timeline = SyncObj::new(None)?;
        add_point(&timeline, &a, 1)?;
        let chain = timeline.fence().ok_or(EINVAL)?;

        let node = UnarmedChainNode::new(GFP_KERNEL)?;
        let refused = timeline.add_point(node, &chain, 2).err().ok_or(EINVAL)?;
        assert!(ptr::eq(&*timeline.fence().ok_or(EINVAL)?, &*chain));
        assert!(ptr::eq(&*refused.fence, &*chain));
        assert!(refused.prev.is_none());

        // As part of an array, it can be contained. The memory is still good.
        let both = DmaFence::merge(&[&chain, &b])?;
        assert!(both.is_container() && !both.is_chain());
        timeline.add_point(refused.node, &both, 2)?;
        let last = timeline.fence().ok_or(EINVAL)?;
        assert_eq!(last.seqno(), 2);

        a.signal(Ok(()));
        assert!(!last.is_signaled());
        b.signal(Ok(()));
        assert!(last.wait_timeout(100).is_ok());

        Ok(())
    }
}
