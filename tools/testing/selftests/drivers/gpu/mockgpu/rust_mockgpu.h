/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ioctls of the sample driver rust_mockgpu. They are no stable ABI: the driver and this file,
 * samples/rust/rust_mockgpu/uapi.rs has the same, change together.
 */
#ifndef RUST_MOCKGPU_H
#define RUST_MOCKGPU_H

#include <assert.h>

#include <drm/drm.h>

struct mockgpu_create {
	__u64 size;
	__u32 handle;
	__u32 pad;
};

#define MOCKGPU_BUFFER_WRITE	0x1

struct mockgpu_buffer {
	__u32 handle;
	__u32 flags;
};

#define MOCKGPU_SYNC_FILE	0
#define MOCKGPU_SYNC_OBJ	1

struct mockgpu_sync {
	__u32 kind;
	__u32 handle;
	__u64 point;
};

#define MOCKGPU_SUBMIT_SYNC_FILE	0x1
#define MOCKGPU_MAX_COUNT		64

struct mockgpu_submit {
	__u64 buffers;
	__u64 waits;
	__u64 signals;
	__u32 buffer_count;
	__u32 wait_count;
	__u32 signal_count;
	__u32 flags;
	__u64 duration_ns;
	__u32 sync_file;
	__u32 pad;
};

struct mockgpu_wait {
	__u32 handle;
	__u32 flags;
	__s64 timeout_ns;
};

#define DRM_IOCTL_MOCKGPU_CREATE	DRM_IOWR(DRM_COMMAND_BASE, struct mockgpu_create)
#define DRM_IOCTL_MOCKGPU_SUBMIT	DRM_IOWR(DRM_COMMAND_BASE + 1, struct mockgpu_submit)
#define DRM_IOCTL_MOCKGPU_WAIT		DRM_IOW(DRM_COMMAND_BASE + 2, struct mockgpu_wait)

/* The driver asserts the same. */
static_assert(DRM_IOCTL_MOCKGPU_CREATE == 0xc0106440, "CREATE");
static_assert(DRM_IOCTL_MOCKGPU_SUBMIT == 0xc0386441, "SUBMIT");
static_assert(DRM_IOCTL_MOCKGPU_WAIT == 0x40106442, "WAIT");
static_assert(sizeof(struct mockgpu_buffer) == 8, "buffer");
static_assert(sizeof(struct mockgpu_sync) == 16, "sync");

#endif /* RUST_MOCKGPU_H */
