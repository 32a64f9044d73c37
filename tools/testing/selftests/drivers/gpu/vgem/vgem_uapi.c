// SPDX-License-Identifier: GPL-2.0
/* The UAPI of VGEM, and of what it shares with all DRM drivers. None of it takes long. */

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/capability.h>
#include <linux/udmabuf.h>

#include "kselftest_harness.h"
#include "vgem_common.h"

#define WRITE	VGEM_FENCE_WRITE

/* A client with one buffer. */
FIXTURE(vgem) {
	int fd;
	uint32_t handle;
	int dmabuf;
	long page;
};

FIXTURE_SETUP(vgem)
{
	self->page = sysconf(_SC_PAGESIZE);
	self->fd = vgem_open();
	if (self->fd < 0)
		SKIP(return, "no VGEM device, or no right to open it");
	ASSERT_EQ(0, dumb_create(self->fd, 1, &self->handle));
	self->dmabuf = prime_export(self->fd, self->handle);
	ASSERT_LE(0, self->dmabuf);
}

FIXTURE_TEARDOWN(vgem)
{
	close(self->dmabuf);
	close(self->fd);
}

TEST_F(vgem, version)
{
	char name[16] = "", date[16] = "", desc[64] = "";
	struct drm_version version = {
		.name = name, .name_len = sizeof(name),
		.date = date, .date_len = sizeof(date),
		.desc = desc, .desc_len = sizeof(desc),
	};

	ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_VERSION, &version));
	EXPECT_EQ(1, version.version_major);
	EXPECT_EQ(0, version.version_minor);
	EXPECT_STREQ("vgem", name);
	EXPECT_STREQ("Virtual GEM provider", desc);
}

TEST_F(vgem, capabilities)
{
	static const struct {
		uint64_t capability;
		uint64_t value;
	} caps[] = {
		{ DRM_CAP_PRIME, DRM_PRIME_CAP_IMPORT | DRM_PRIME_CAP_EXPORT },
		{ DRM_CAP_TIMESTAMP_MONOTONIC, 1 },
		{ DRM_CAP_SYNCOBJ, 0 },
		{ DRM_CAP_SYNCOBJ_TIMELINE, 0 },
	};
	struct drm_get_cap arg;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		arg = (struct drm_get_cap){ .capability = caps[i].capability };
		ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_GET_CAP, &arg));
		EXPECT_EQ(caps[i].value, arg.value) {
			TH_LOG("capability %llu", arg.capability);
		}
	}
	/* It has dumb buffers, but as it has no modes, it does not report that. */
	arg = (struct drm_get_cap){ .capability = DRM_CAP_DUMB_BUFFER };
	EXPECT_EQ(-EOPNOTSUPP, do_ioctl(self->fd, DRM_IOCTL_GET_CAP, &arg));
}

/* Attaching */

TEST_F(vgem, attach_and_signal)
{
	uint32_t flags, id;

	for (flags = 0; flags <= WRITE; flags++) {
		ASSERT_EQ(0, vgem_attach(self->fd, self->handle, flags, &id));
		EXPECT_NE(0, id);
		EXPECT_FALSE(writable(self->dmabuf));
		ASSERT_EQ(0, vgem_signal(self->fd, id));
		EXPECT_TRUE(readable(self->dmabuf));
		EXPECT_TRUE(writable(self->dmabuf));
		EXPECT_EQ(-ENOENT, vgem_signal(self->fd, id));
	}
}

TEST_F(vgem, attach_bad_flags)
{
	uint32_t id;
	int bit;

	for (bit = 1; bit < 32; bit++) {
		EXPECT_EQ(-EINVAL, vgem_attach(self->fd, self->handle, 1U << bit, &id));
		EXPECT_EQ(VGEM_UNTOUCHED, id);
		EXPECT_EQ(-EINVAL, vgem_attach(self->fd, self->handle, 1U << bit | WRITE, &id));
		EXPECT_EQ(VGEM_UNTOUCHED, id);
	}
	EXPECT_TRUE(writable(self->dmabuf));
}

TEST_F(vgem, attach_bad_pad)
{
	int bit;

	for (bit = 0; bit < 32; bit++) {
		struct drm_vgem_fence_attach arg = {
			.handle = self->handle,
			.out_fence = VGEM_UNTOUCHED,
			.pad = 1U << bit,
		};

		EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IOCTL_VGEM_FENCE_ATTACH, &arg));
		EXPECT_EQ(VGEM_UNTOUCHED, arg.out_fence);
		EXPECT_EQ(1U << bit, arg.pad);
	}
	EXPECT_TRUE(writable(self->dmabuf));
}

TEST_F(vgem, attach_bad_handle)
{
	uint32_t closed, foreign, id;
	int other = vgem_open();

	ASSERT_LE(0, other);
	/* The second one's first handle is as the first one's: make it differ. */
	ASSERT_EQ(0, dumb_create(other, 1, &closed));
	ASSERT_EQ(0, dumb_create(other, 1, &foreign));
	ASSERT_NE(self->handle, foreign);
	ASSERT_EQ(0, dumb_create(self->fd, 1, &closed));
	ASSERT_EQ(0, gem_close(self->fd, closed));

	const uint32_t bad[] = {
		0, closed, foreign, self->handle + 1000, INT32_MAX, 1U << 31, UINT32_MAX,
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-ENOENT, vgem_attach(self->fd, bad[i], 0, &id)) {
			TH_LOG("handle %#x", bad[i]);
		}
		EXPECT_EQ(VGEM_UNTOUCHED, id);
		EXPECT_EQ(-ENOENT, vgem_attach(self->fd, bad[i], WRITE, &id));
		EXPECT_EQ(VGEM_UNTOUCHED, id);
	}
	close(other);
}

/* Flags and pad come before the handle, and that before what the buffer is used for. */
TEST_F(vgem, attach_order)
{
	struct drm_vgem_fence_attach arg = { .flags = 2 };
	uint32_t id, other;

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &id));

	EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IOCTL_VGEM_FENCE_ATTACH, &arg));
	arg = (struct drm_vgem_fence_attach){ .pad = 1 };
	EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IOCTL_VGEM_FENCE_ATTACH, &arg));
	arg = (struct drm_vgem_fence_attach){ .handle = self->handle, .flags = 2 };
	EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IOCTL_VGEM_FENCE_ATTACH, &arg));
	arg = (struct drm_vgem_fence_attach){ .handle = self->handle, .pad = 1 };
	EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IOCTL_VGEM_FENCE_ATTACH, &arg));
	EXPECT_EQ(-ENOENT, vgem_attach(self->fd, 0, WRITE, &other));
	EXPECT_EQ(-EBUSY, vgem_attach(self->fd, self->handle, WRITE, &other));

	EXPECT_EQ(0, vgem_signal(self->fd, id));
}

/* Only reads go with reads. */
TEST_F(vgem, attach_busy)
{
	uint32_t read, write, id;

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &read));
	EXPECT_EQ(-EBUSY, vgem_attach(self->fd, self->handle, WRITE, &id));
	EXPECT_EQ(VGEM_UNTOUCHED, id);
	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &id));
	ASSERT_EQ(0, vgem_signal(self->fd, read));
	EXPECT_EQ(-EBUSY, vgem_attach(self->fd, self->handle, WRITE, &read));
	ASSERT_EQ(0, vgem_signal(self->fd, id));

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &write));
	EXPECT_EQ(-EBUSY, vgem_attach(self->fd, self->handle, WRITE, &id));
	EXPECT_EQ(VGEM_UNTOUCHED, id);
	EXPECT_EQ(-EBUSY, vgem_attach(self->fd, self->handle, 0, &id));
	EXPECT_EQ(VGEM_UNTOUCHED, id);
	ASSERT_EQ(0, vgem_signal(self->fd, write));

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &write));
	ASSERT_EQ(0, vgem_signal(self->fd, write));
}

TEST_F(vgem, attach_many_reads)
{
	uint32_t ids[500];
	int sync_file;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ids); i++)
		ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &ids[i]));
	sync_file = export_sync_file(self->dmabuf, DMA_BUF_SYNC_WRITE);
	ASSERT_LE(0, sync_file);
	EXPECT_EQ(ARRAY_SIZE(ids), sync_file_fences(sync_file, NULL, 0));
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		EXPECT_EQ(0, sync_file_status(sync_file));
		EXPECT_FALSE(writable(self->dmabuf));
		EXPECT_TRUE(readable(self->dmabuf));
		ASSERT_EQ(0, vgem_signal(self->fd, ids[i]));
	}
	EXPECT_EQ(1, sync_file_status(sync_file));
	EXPECT_TRUE(writable(self->dmabuf));
	close(sync_file);
}

/* Where a page is not there, the fence goes with the client, as its ID got lost. */
TEST_F(vgem, attach_fault)
{
	char *page = mmap(NULL, self->page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct drm_vgem_fence_attach *arg = mmap(NULL, self->page, PROT_READ | PROT_WRITE,
						 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, page);
	ASSERT_NE(MAP_FAILED, arg);
	EXPECT_EQ(-EFAULT, do_ioctl(self->fd, DRM_IOCTL_VGEM_FENCE_ATTACH, page));
	EXPECT_EQ(-EFAULT, do_ioctl(self->fd, DRM_IOCTL_VGEM_FENCE_SIGNAL, page));
	EXPECT_TRUE(writable(self->dmabuf));

	arg->handle = self->handle;
	ASSERT_EQ(0, mprotect(arg, self->page, PROT_READ));
	EXPECT_EQ(-EFAULT, do_ioctl(self->fd, DRM_IOCTL_VGEM_FENCE_ATTACH, arg));
	EXPECT_FALSE(writable(self->dmabuf));
	close(self->fd);
	EXPECT_TRUE(writable(self->dmabuf));
	self->fd = -1;
}

/* IDs and signaling */

TEST_F(vgem, ids_are_unique)
{
	uint32_t ids[300];
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &ids[i]));
		EXPECT_NE(0, ids[i]);
		EXPECT_GE(INT32_MAX, ids[i]);
		for (j = 0; j < i; j++)
			ASSERT_NE(ids[i], ids[j]);
		/* Some of them are not live any longer. */
		if (i % 3 == 0)
			ASSERT_EQ(0, vgem_signal(self->fd, ids[i]));
	}
	for (i = 0; i < ARRAY_SIZE(ids); i++)
		EXPECT_EQ(i % 3 ? 0 : -ENOENT, vgem_signal(self->fd, ids[i]));
	EXPECT_TRUE(writable(self->dmabuf));
}

TEST_F(vgem, signal_bad_flags)
{
	struct drm_vgem_fence_signal arg;
	uint32_t id;
	int bit;

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &id));
	for (bit = 0; bit < 32; bit++) {
		arg = (struct drm_vgem_fence_signal){ .fence = id, .flags = 1U << bit };
		EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IOCTL_VGEM_FENCE_SIGNAL, &arg));
		/* They come before the ID. */
		arg.fence = 0;
		EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IOCTL_VGEM_FENCE_SIGNAL, &arg));
	}
	EXPECT_FALSE(writable(self->dmabuf));
	EXPECT_EQ(0, vgem_signal(self->fd, id));
}

TEST_F(vgem, signal_bad_id)
{
	uint32_t id, foreign, other_handle;
	int other = vgem_open();
	int other_dmabuf;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, dumb_create(other, 1, &other_handle));
	other_dmabuf = prime_export(other, other_handle);
	ASSERT_LE(0, other_dmabuf);

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &id));
	do {
		ASSERT_EQ(0, vgem_attach(other, other_handle, 0, &foreign));
	} while (foreign == id);

	const uint32_t bad[] = {
		0, foreign, id + 1000, INT32_MAX, 1U << 31, (1U << 31) + id, UINT32_MAX,
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-ENOENT, vgem_signal(self->fd, bad[i])) {
			TH_LOG("ID %#x", bad[i]);
		}
	}
	EXPECT_FALSE(writable(self->dmabuf));
	EXPECT_FALSE(writable(other_dmabuf));

	EXPECT_EQ(0, vgem_signal(self->fd, id));
	EXPECT_EQ(0, vgem_signal(other, foreign));
	close(other_dmabuf);
	close(other);
}

TEST_F(vgem, signal_in_any_order)
{
	uint32_t ids[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ids); i++)
		ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &ids[i]));
	/* 37 and 64 have no common divisor. */
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		EXPECT_FALSE(writable(self->dmabuf));
		EXPECT_EQ(0, vgem_signal(self->fd, ids[i * 37 % ARRAY_SIZE(ids)]));
	}
	EXPECT_TRUE(writable(self->dmabuf));
}

struct signaller {
	int fd;
	const uint32_t *ids;
	int count, done, other;
	pthread_barrier_t *barrier;
};

static void *signal_all(void *arg)
{
	struct signaller *s = arg;
	int i, ret;

	pthread_barrier_wait(s->barrier);
	for (i = 0; i < s->count; i++) {
		ret = vgem_signal(s->fd, s->ids[i]);
		if (!ret)
			s->done++;
		else if (ret != -ENOENT)
			s->other = ret;
	}
	return NULL;
}

/* Of two that signal the same fence, one succeeds. */
TEST_F(vgem, signal_race)
{
	enum { COUNT = 200, ROUNDS = 8 };
	pthread_barrier_t barrier;
	struct signaller s[2];
	pthread_t threads[2];
	uint32_t ids[COUNT];
	int round, i;

	pthread_barrier_init(&barrier, NULL, 2);
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < COUNT; i++)
			ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &ids[i]));
		for (i = 0; i < 2; i++) {
			s[i] = (struct signaller){ self->fd, ids, COUNT, 0, 0, &barrier };
			ASSERT_EQ(0, pthread_create(&threads[i], NULL, signal_all, &s[i]));
		}
		for (i = 0; i < 2; i++) {
			pthread_join(threads[i], NULL);
			EXPECT_EQ(0, s[i].other);
		}
		EXPECT_EQ(COUNT, s[0].done + s[1].done);
		EXPECT_TRUE(writable(self->dmabuf));
	}
}

/* A file is the same client in each process that has it. */
TEST_F(vgem, signal_from_child)
{
	uint32_t id;
	pid_t pid;

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &id));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		EXPECT_EQ(0, vgem_signal(self->fd, id));
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	EXPECT_TRUE(readable(self->dmabuf));
	EXPECT_EQ(-ENOENT, vgem_signal(self->fd, id));
}

/* Closing */

FIXTURE(vgem_end) {
	int fd;
	int dmabufs[8];
};

FIXTURE_VARIANT(vgem_end) {
	enum { CLOSE, EXIT, KILL } how;
};

FIXTURE_VARIANT_ADD(vgem_end, close) { .how = CLOSE };
FIXTURE_VARIANT_ADD(vgem_end, exit) { .how = EXIT };
FIXTURE_VARIANT_ADD(vgem_end, kill) { .how = KILL };

FIXTURE_SETUP(vgem_end)
{
	uint32_t handle;

	self->fd = vgem_open();
	if (self->fd < 0)
		SKIP(return, "no VGEM device, or no right to open it");
	for (size_t i = 0; i < ARRAY_SIZE(self->dmabufs); i++) {
		ASSERT_EQ(0, dumb_create(self->fd, 1, &handle));
		self->dmabufs[i] = prime_export(self->fd, handle);
		ASSERT_LE(0, self->dmabufs[i]);
	}
}

FIXTURE_TEARDOWN(vgem_end)
{
	close(self->fd);
}

/* All fences of a client are signaled when it ends, and without an error. */
TEST_F(vgem_end, signals_all)
{
	int sync_files[ARRAY_SIZE(self->dmabufs)];
	int ready[2], never[2], status;
	uint32_t handle, id;
	pid_t pid;
	size_t i;
	char c;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(never));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int fd = vgem_open();

		close(never[1]);
		for (i = 0; i < ARRAY_SIZE(self->dmabufs); i++) {
			if (prime_import(fd, self->dmabufs[i], &handle) ||
			    vgem_attach(fd, handle, i % 2 ? WRITE : 0, &id))
				_exit(1);
			/* One that was signaled, one that was not. */
			if (!(i % 2) && (vgem_signal(fd, id) ||
					 vgem_attach(fd, handle, 0, &id)))
				_exit(1);
		}
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		/* Until the parent has its sync_files. */
		(void)!read(never[0], &c, 1);
		if (variant->how == KILL)
			pause();
		if (variant->how == CLOSE) {
			close(fd);
			for (i = 0; i < ARRAY_SIZE(self->dmabufs); i++)
				if (!writable(self->dmabufs[i]))
					_exit(1);
		}
		_exit(0);
	}
	close(ready[1]);
	close(never[0]);
	ASSERT_EQ(1, read(ready[0], &c, 1));
	for (i = 0; i < ARRAY_SIZE(self->dmabufs); i++) {
		sync_files[i] = export_sync_file(self->dmabufs[i], DMA_BUF_SYNC_RW);
		ASSERT_LE(0, sync_files[i]);
		EXPECT_EQ(0, sync_file_status(sync_files[i]));
	}
	close(never[1]);
	if (variant->how == KILL)
		kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(variant->how == KILL ? SIGKILL : 0, status);
	for (i = 0; i < ARRAY_SIZE(self->dmabufs); i++) {
		EXPECT_EQ(1, sync_file_status(sync_files[i]));
		EXPECT_TRUE(writable(self->dmabufs[i]));
		close(sync_files[i]);
	}
}

/* dma-bufs and sync_files */

/* POLLIN waits for writes, POLLOUT for all. */
TEST_F(vgem, poll_dmabuf)
{
	uint32_t id;

	EXPECT_TRUE(readable(self->dmabuf));
	EXPECT_TRUE(writable(self->dmabuf));
	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &id));
	EXPECT_TRUE(readable(self->dmabuf));
	EXPECT_FALSE(writable(self->dmabuf));
	ASSERT_EQ(0, vgem_signal(self->fd, id));
	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &id));
	EXPECT_FALSE(readable(self->dmabuf));
	EXPECT_FALSE(writable(self->dmabuf));
	ASSERT_EQ(0, vgem_signal(self->fd, id));
	EXPECT_TRUE(readable(self->dmabuf));
	EXPECT_TRUE(writable(self->dmabuf));
}

/* A poll that has begun ends when the fence is signaled. */
TEST_F(vgem, poll_wakes)
{
	int64_t start = now();
	uint32_t id;
	int status;
	pid_t pid;

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &id));
	pid = signal_later(self->fd, id);
	ASSERT_LE(0, pid);
	EXPECT_EQ(POLLIN, poll_fd(self->dmabuf, POLLIN, 9000));
	EXPECT_LE(50 * NSEC_PER_MSEC, now() - start);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(vgem, export_sync_file)
{
	uint32_t id;
	int sync_file;

	/* Nobody waits for the reads but writes. */
	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &id));
	sync_file = export_sync_file(self->dmabuf, DMA_BUF_SYNC_READ);
	ASSERT_LE(0, sync_file);
	EXPECT_EQ(1, sync_file_status(sync_file));
	close(sync_file);
	sync_file = export_sync_file(self->dmabuf, DMA_BUF_SYNC_WRITE);
	ASSERT_LE(0, sync_file);
	EXPECT_EQ(0, sync_file_status(sync_file));
	EXPECT_EQ(0, poll_fd(sync_file, POLLIN, 0));
	ASSERT_EQ(0, vgem_signal(self->fd, id));
	EXPECT_EQ(1, sync_file_status(sync_file));
	EXPECT_EQ(POLLIN, poll_fd(sync_file, POLLIN, 0));
	close(sync_file);

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &id));
	sync_file = export_sync_file(self->dmabuf, DMA_BUF_SYNC_READ);
	ASSERT_LE(0, sync_file);
	EXPECT_EQ(0, sync_file_status(sync_file));
	ASSERT_EQ(0, vgem_signal(self->fd, id));
	EXPECT_EQ(1, sync_file_status(sync_file));
	close(sync_file);
}

TEST_F(vgem, sync_file_info)
{
	struct sync_fence_info info[2] = {};
	int64_t before, after;
	uint32_t ids[2];
	int sync_file;

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &ids[0]));
	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &ids[1]));
	sync_file = export_sync_file(self->dmabuf, DMA_BUF_SYNC_WRITE);
	ASSERT_LE(0, sync_file);
	before = now();
	ASSERT_EQ(0, vgem_signal(self->fd, ids[0]));
	after = now();
	ASSERT_EQ(2, sync_file_fences(sync_file, info, 2));
	/* The order is not promised. */
	if (info[1].status) {
		struct sync_fence_info tmp = info[0];

		info[0] = info[1];
		info[1] = tmp;
	}
	EXPECT_EQ(1, info[0].status);
	EXPECT_LE(before, (int64_t)info[0].timestamp_ns);
	EXPECT_GE(after, (int64_t)info[0].timestamp_ns);
	EXPECT_EQ(0, info[1].status);
	EXPECT_STREQ("vgem", info[1].driver_name);
	EXPECT_STREQ("unbound", info[1].obj_name);
	ASSERT_EQ(0, vgem_signal(self->fd, ids[1]));
	EXPECT_EQ(1, sync_file_status(sync_file));
	close(sync_file);
}

/* A fence that another buffer has is in the way, too. */
TEST_F(vgem, import_sync_file)
{
	uint32_t other, id, ignored;
	int dmabuf, sync_file;

	ASSERT_EQ(0, dumb_create(self->fd, 1, &other));
	dmabuf = prime_export(self->fd, other);
	ASSERT_LE(0, dmabuf);
	ASSERT_EQ(0, vgem_attach(self->fd, other, WRITE, &id));
	sync_file = export_sync_file(dmabuf, DMA_BUF_SYNC_READ);
	ASSERT_LE(0, sync_file);

	ASSERT_EQ(0, import_sync_file(self->dmabuf, DMA_BUF_SYNC_READ, sync_file));
	EXPECT_EQ(-EBUSY, vgem_attach(self->fd, self->handle, WRITE, &ignored));
	ASSERT_EQ(0, import_sync_file(self->dmabuf, DMA_BUF_SYNC_WRITE, sync_file));
	EXPECT_EQ(-EBUSY, vgem_attach(self->fd, self->handle, 0, &ignored));
	EXPECT_FALSE(readable(self->dmabuf));
	ASSERT_EQ(0, vgem_signal(self->fd, id));
	EXPECT_TRUE(writable(self->dmabuf));
	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &id));
	ASSERT_EQ(0, vgem_signal(self->fd, id));
	close(sync_file);
	close(dmabuf);
}

/* Neither the buffer nor the dma-buf is needed to signal a fence. */
TEST_F(vgem, fence_outlives_buffer)
{
	uint32_t id;
	int sync_file;

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &id));
	sync_file = export_sync_file(self->dmabuf, DMA_BUF_SYNC_RW);
	ASSERT_LE(0, sync_file);
	ASSERT_EQ(0, gem_close(self->fd, self->handle));
	close(self->dmabuf);
	self->dmabuf = -1;
	EXPECT_EQ(0, sync_file_status(sync_file));
	EXPECT_EQ(0, vgem_signal(self->fd, id));
	EXPECT_EQ(1, sync_file_status(sync_file));
	close(sync_file);
}

/* Ioctls */

TEST_F(vgem, ioctl_holes)
{
	char arg[64] = {};
	int nr;

	for (nr = DRM_COMMAND_BASE; nr < DRM_COMMAND_END; nr++) {
		if (nr == DRM_COMMAND_BASE + DRM_VGEM_FENCE_ATTACH ||
		    nr == DRM_COMMAND_BASE + DRM_VGEM_FENCE_SIGNAL)
			continue;
		EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IO(nr), NULL)) {
			TH_LOG("%#x", nr);
		}
		EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IOWR(nr, char[64]), arg));
	}
	EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IO(0xff), NULL));
	/* Not of DRM at all. */
	EXPECT_EQ(-ENOTTY, do_ioctl(self->fd, _IO('x', DRM_COMMAND_BASE + 1), NULL));
}

/* What a shorter argument lacks is 0, and what a longer one has is ignored. */
TEST_F(vgem, ioctl_sizes)
{
	struct {
		struct drm_vgem_fence_attach arg;
		uint32_t more;
	} attach = {
		.arg = { .handle = self->handle, .out_fence = VGEM_UNTOUCHED },
		.more = VGEM_UNTOUCHED,
	};
	struct {
		struct drm_vgem_fence_signal arg;
		uint32_t more;
	} signal = { .more = VGEM_UNTOUCHED };
	uint32_t short_attach[2] = { self->handle, 0 };

	ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOWR(DRM_COMMAND_BASE + DRM_VGEM_FENCE_ATTACH,
						 typeof(attach)), &attach));
	EXPECT_EQ(VGEM_UNTOUCHED, attach.more);
	ASSERT_NE(VGEM_UNTOUCHED, attach.arg.out_fence);
	/* The ID alone is enough to signal. */
	EXPECT_EQ(0, do_ioctl(self->fd, DRM_IOW(DRM_COMMAND_BASE + DRM_VGEM_FENCE_SIGNAL,
						uint32_t), &attach.arg.out_fence));
	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &signal.arg.fence));
	EXPECT_EQ(0, do_ioctl(self->fd, DRM_IOW(DRM_COMMAND_BASE + DRM_VGEM_FENCE_SIGNAL,
						typeof(signal)), &signal));
	EXPECT_TRUE(writable(self->dmabuf));

	EXPECT_EQ(0, do_ioctl(self->fd, DRM_IOWR(DRM_COMMAND_BASE + DRM_VGEM_FENCE_ATTACH,
						 typeof(short_attach)), short_attach));
	EXPECT_FALSE(writable(self->dmabuf));
	/* No argument at all is one that is all 0. */
	EXPECT_EQ(-ENOENT, do_ioctl(self->fd, DRM_IO(DRM_COMMAND_BASE + DRM_VGEM_FENCE_ATTACH),
				    NULL));
	EXPECT_EQ(-ENOENT, do_ioctl(self->fd, DRM_IO(DRM_COMMAND_BASE + DRM_VGEM_FENCE_SIGNAL),
				    NULL));
	/* The ID of the second fence was not returned. */
	close(self->fd);
	self->fd = -1;
	EXPECT_TRUE(writable(self->dmabuf));
}

/* What a device with neither modes nor syncobjs refuses. */
TEST_F(vgem, ioctl_unsupported)
{
	char arg[256] = {};
	static const unsigned long requests[] = {
		DRM_IOCTL_MODE_GETRESOURCES,
		DRM_IOCTL_MODE_GETPLANERESOURCES,
		DRM_IOCTL_MODE_ADDFB2,
		DRM_IOCTL_SYNCOBJ_CREATE,
		DRM_IOCTL_SYNCOBJ_DESTROY,
		DRM_IOCTL_SYNCOBJ_WAIT,
		DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL,
		DRM_IOCTL_WAIT_VBLANK,
	};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		EXPECT_EQ(-EOPNOTSUPP, do_ioctl(self->fd, requests[i], arg)) {
			TH_LOG("%#lx", requests[i]);
		}
	}
}

/* What a render node is for: sharing, and fences. */
TEST_F(vgem, render_node)
{
	struct drm_gem_flink flink = {};
	struct drm_gem_open open = {};
	struct drm_version version = {};
	struct drm_auth auth = {};
	struct drm_get_cap cap = { .capability = DRM_CAP_PRIME };
	int render = vgem_open_render();
	uint32_t handle, dumb, id;
	int dmabuf;

	ASSERT_LE(0, render);
	EXPECT_EQ(0, do_ioctl(render, DRM_IOCTL_VERSION, &version));
	EXPECT_EQ(0, do_ioctl(render, DRM_IOCTL_GET_CAP, &cap));
	ASSERT_EQ(0, prime_import(render, self->dmabuf, &handle));
	ASSERT_EQ(0, vgem_attach(render, handle, WRITE, &id));
	EXPECT_FALSE(readable(self->dmabuf));
	EXPECT_EQ(-EBUSY, vgem_attach(self->fd, self->handle, 0, NULL));
	EXPECT_EQ(0, vgem_signal(render, id));
	dmabuf = prime_export(render, handle);
	EXPECT_LE(0, dmabuf);
	close(dmabuf);

	EXPECT_EQ(-EACCES, dumb_create(render, 1, &dumb));
	EXPECT_EQ(-EACCES, dumb_destroy(render, handle));
	EXPECT_EQ(-EACCES, dumb_offset(render, handle));
	flink.handle = handle;
	EXPECT_EQ(-EACCES, do_ioctl(render, DRM_IOCTL_GEM_FLINK, &flink));
	EXPECT_EQ(-EACCES, do_ioctl(render, DRM_IOCTL_GEM_OPEN, &open));
	EXPECT_EQ(-EACCES, do_ioctl(render, DRM_IOCTL_GET_MAGIC, &auth));
	EXPECT_EQ(-EACCES, do_ioctl(render, DRM_IOCTL_AUTH_MAGIC, &auth));
	EXPECT_EQ(-EACCES, do_ioctl(render, DRM_IOCTL_SET_MASTER, NULL));
	EXPECT_EQ(-EACCES, do_ioctl(render, DRM_IOCTL_DROP_MASTER, NULL));

	EXPECT_EQ(0, gem_close(render, handle));
	EXPECT_EQ(-EINVAL, gem_close(render, handle));
	close(render);
}

/* Gives up all capabilities but that to open the nodes. */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};

	data[0].permitted = 1U << CAP_DAC_OVERRIDE;
	data[0].effective = data[0].permitted;
	return syscall(SYS_capset, &header, data);
}

/* Who is neither master nor admin can do all that VGEM has, but no flink. */
TEST_F(vgem, without_privilege)
{
	struct drm_gem_flink flink = {};
	struct drm_auth auth = {};
	uint32_t handle, shared, id;
	int fd, dmabuf;

	/* This one is the master. */
	do_ioctl(self->fd, DRM_IOCTL_SET_MASTER, NULL);
	ASSERT_EQ(0, drop_capabilities());
	fd = vgem_open();
	ASSERT_LE(0, fd);

	EXPECT_EQ(0, prime_import(fd, self->dmabuf, &shared));
	ASSERT_EQ(0, vgem_attach(fd, shared, WRITE, &id));
	EXPECT_EQ(0, vgem_signal(fd, id));
	ASSERT_EQ(0, dumb_create(fd, 1, &handle));
	EXPECT_LE(0, dumb_offset(fd, handle));
	dmabuf = prime_export(fd, handle);
	EXPECT_LE(0, dmabuf);
	close(dmabuf);
	EXPECT_EQ(0, do_ioctl(fd, DRM_IOCTL_GET_MAGIC, &auth));

	flink.handle = handle;
	EXPECT_EQ(-EACCES, do_ioctl(fd, DRM_IOCTL_GEM_FLINK, &flink));
	EXPECT_EQ(-EACCES, do_ioctl(fd, DRM_IOCTL_AUTH_MAGIC, &auth));
	EXPECT_EQ(-EACCES, do_ioctl(fd, DRM_IOCTL_SET_MASTER, NULL));
	EXPECT_EQ(0, dumb_destroy(fd, handle));
	close(fd);
}

TEST_F(vgem, flink)
{
	struct drm_gem_flink flink = { .handle = self->handle };
	struct drm_gem_open open = {};
	int other = vgem_open();
	uint32_t id;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_GEM_FLINK, &flink));
	open.name = flink.name;
	ASSERT_EQ(0, do_ioctl(other, DRM_IOCTL_GEM_OPEN, &open));
	EXPECT_EQ(self->page, open.size);
	ASSERT_EQ(0, vgem_attach(other, open.handle, WRITE, &id));
	EXPECT_FALSE(readable(self->dmabuf));
	EXPECT_EQ(0, vgem_signal(other, id));
	open.name = flink.name + 1000;
	EXPECT_EQ(-ENOENT, do_ioctl(other, DRM_IOCTL_GEM_OPEN, &open));
	close(other);
}

/* Buffers */

TEST_F(vgem, dumb_layout)
{
	struct drm_mode_create_dumb arg = { .width = 33, .height = 7, .bpp = 32 };

	ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_MODE_CREATE_DUMB, &arg));
	EXPECT_LE(33 * 4, arg.pitch);
	EXPECT_LE(7ULL * arg.pitch, arg.size);
	EXPECT_EQ(0, arg.size % self->page);
	EXPECT_NE(0, arg.handle);
	EXPECT_EQ(0, dumb_destroy(self->fd, arg.handle));
	EXPECT_EQ(-EINVAL, dumb_destroy(self->fd, arg.handle));
	EXPECT_EQ(-EINVAL, dumb_destroy(self->fd, 0));
	EXPECT_EQ(-EINVAL, gem_close(self->fd, arg.handle));
	EXPECT_EQ(-ENOENT, dumb_offset(self->fd, arg.handle));
}

TEST_F(vgem, dumb_bad_size)
{
	static const struct drm_mode_create_dumb bad[] = {
		{ .width = 0, .height = 1, .bpp = 8 },
		{ .width = 1, .height = 0, .bpp = 8 },
		{ .width = 1, .height = 1, .bpp = 0 },
		{ .width = UINT32_MAX, .height = 1, .bpp = 32 },
		{ .width = 1 << 16, .height = 1 << 16, .bpp = 32 },
		{ .width = 1 << 16, .height = UINT32_MAX, .bpp = 8 },
		{ .width = UINT32_MAX, .height = UINT32_MAX, .bpp = UINT32_MAX },
		{ .width = UINT32_MAX, .height = 1, .bpp = 8 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct drm_mode_create_dumb arg = bad[i];

		EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IOCTL_MODE_CREATE_DUMB, &arg)) {
			TH_LOG("%u x %u, %u bits", bad[i].height, bad[i].width, bad[i].bpp);
		}
		EXPECT_EQ(0, arg.handle);
	}
}

/* Memory is only there once it is used. */
TEST_F(vgem, dumb_huge)
{
	uint32_t handles[8];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(handles); i++)
		ASSERT_EQ(0, dumb_create(self->fd, (1ULL << 31) / self->page, &handles[i]));
	for (i = 0; i < ARRAY_SIZE(handles); i++) {
		EXPECT_LT(0, dumb_offset(self->fd, handles[i]));
		EXPECT_EQ(0, dumb_destroy(self->fd, handles[i]));
	}
}

TEST_F(vgem, mmap)
{
	enum { PAGES = 5 };
	size_t size = PAGES * self->page;
	uint32_t handle;
	int64_t offset;
	int *one, *two;
	pid_t pid;
	size_t i;

	ASSERT_EQ(0, dumb_create(self->fd, PAGES, &handle));
	offset = dumb_offset(self->fd, handle);
	ASSERT_LT(0, offset);
	EXPECT_EQ(offset, dumb_offset(self->fd, handle));
	one = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, offset);
	ASSERT_NE(MAP_FAILED, one);
	two = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, offset);
	ASSERT_NE(MAP_FAILED, two);
	for (i = 0; i < size / sizeof(int); i++)
		ASSERT_EQ(0, one[i]);
	for (i = 0; i < size / sizeof(int); i++)
		one[i] = i;
	for (i = 0; i < size / sizeof(int); i++)
		ASSERT_EQ(i, two[i]);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		one[1] = 42;
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	EXPECT_EQ(42, two[1]);

	/* A mapping keeps the buffer, not the handle. */
	EXPECT_EQ(0, gem_close(self->fd, handle));
	EXPECT_EQ(42, one[1]);
	munmap(one, size);
	EXPECT_EQ(42, two[1]);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, size, PROT_READ, MAP_SHARED, self->fd, offset));
	munmap(two, size);
}

TEST_F(vgem, mmap_bad)
{
	int64_t offset = dumb_offset(self->fd, self->handle);
	int other = vgem_open();

	ASSERT_LE(0, other);
	ASSERT_LT(0, offset);
	EXPECT_EQ(-ENOENT, dumb_offset(self->fd, 0));
	EXPECT_EQ(-ENOENT, dumb_offset(self->fd, self->handle + 1000));

	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->page, PROT_READ, MAP_SHARED, self->fd, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * self->page, PROT_READ, MAP_SHARED, self->fd, offset));
	EXPECT_EQ(EINVAL, errno);
	/* A file that has no handle for it must not. */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->page, PROT_READ, MAP_SHARED, other, offset));
	EXPECT_EQ(EACCES, errno);
	close(other);
}

TEST_F(vgem, prime_self_import)
{
	uint32_t handle;

	ASSERT_EQ(0, prime_import(self->fd, self->dmabuf, &handle));
	EXPECT_EQ(self->handle, handle);
}

/* The same buffer, and so the same fences, for both. */
TEST_F(vgem, prime_between_clients)
{
	int other = vgem_open();
	uint32_t handle, again, id;
	int64_t offset;
	int *one, *two;
	int dmabuf;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, prime_import(other, self->dmabuf, &handle));
	ASSERT_EQ(0, prime_import(other, self->dmabuf, &again));
	EXPECT_EQ(handle, again);

	one = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
		   dumb_offset(self->fd, self->handle));
	ASSERT_NE(MAP_FAILED, one);
	offset = dumb_offset(other, handle);
	ASSERT_LE(0, offset);
	two = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED, other, offset);
	ASSERT_NE(MAP_FAILED, two);
	one[3] = 42;
	EXPECT_EQ(42, two[3]);

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &id));
	EXPECT_EQ(-EBUSY, vgem_attach(other, handle, 0, NULL));
	EXPECT_EQ(0, vgem_signal(self->fd, id));
	ASSERT_EQ(0, vgem_attach(other, handle, 0, &id));
	EXPECT_EQ(-EBUSY, vgem_attach(self->fd, self->handle, WRITE, NULL));
	EXPECT_EQ(0, vgem_signal(other, id));

	/* It stays when who made it has gone. */
	close(self->fd);
	self->fd = -1;
	dmabuf = prime_export(other, handle);
	EXPECT_LE(0, dmabuf);
	close(dmabuf);
	EXPECT_EQ(42, two[3]);
	ASSERT_EQ(0, vgem_attach(other, handle, WRITE, &id));
	EXPECT_FALSE(readable(self->dmabuf));
	EXPECT_EQ(0, vgem_signal(other, id));
	munmap(one, self->page);
	munmap(two, self->page);
	close(other);
}

TEST_F(vgem, prime_bad)
{
	struct drm_prime_handle arg = { .handle = self->handle + 1000 };
	uint32_t handle;
	int pipes[2];

	EXPECT_EQ(-ENOENT, do_ioctl(self->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &arg));
	arg = (struct drm_prime_handle){ .handle = self->handle, .flags = 1 };
	EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &arg));
	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-EBADF, prime_import(self->fd, -1, &handle));
	EXPECT_EQ(-EINVAL, prime_import(self->fd, pipes[0], &handle));
	EXPECT_EQ(-EINVAL, prime_import(self->fd, self->fd, &handle));
}

TEST_F(vgem, dmabuf_mmap)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };
	int *one, *two;

	one = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED, self->dmabuf, 0);
	ASSERT_NE(MAP_FAILED, one);
	two = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
		   dumb_offset(self->fd, self->handle));
	ASSERT_NE(MAP_FAILED, two);
	EXPECT_EQ(self->page, lseek(self->dmabuf, 0, SEEK_END));
	EXPECT_EQ(0, do_ioctl(self->dmabuf, DMA_BUF_IOCTL_SYNC, &sync));
	one[5] = 42;
	sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
	EXPECT_EQ(0, do_ioctl(self->dmabuf, DMA_BUF_IOCTL_SYNC, &sync));
	EXPECT_EQ(42, two[5]);
	munmap(one, self->page);
	munmap(two, self->page);
}

/* DMA_BUF_IOCTL_SYNC waits for the fences. */
TEST_F(vgem, dmabuf_sync_waits)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ };
	int64_t start = now();
	uint32_t id;
	int status;
	pid_t pid;

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &id));
	pid = signal_later(self->fd, id);
	ASSERT_LE(0, pid);
	EXPECT_EQ(0, do_ioctl(self->dmabuf, DMA_BUF_IOCTL_SYNC, &sync));
	EXPECT_LE(50 * NSEC_PER_MSEC, now() - start);
	EXPECT_TRUE(readable(self->dmabuf));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* A buffer of another driver. */
TEST_F(vgem, prime_foreign_buffer)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = self->page };
	int udmabuf = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	uint32_t handle, again, id;
	int memfd, dmabuf, back;

	if (udmabuf < 0)
		SKIP(return, "no /dev/udmabuf");
	memfd = memfd_create("vgem", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	ASSERT_LE(0, memfd);
	ASSERT_EQ(0, ftruncate(memfd, self->page));
	ASSERT_EQ(0, fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK));
	create.memfd = memfd;
	dmabuf = ioctl(udmabuf, UDMABUF_CREATE, &create);
	ASSERT_LE(0, dmabuf);

	ASSERT_EQ(0, prime_import(self->fd, dmabuf, &handle));
	EXPECT_NE(self->handle, handle);
	ASSERT_EQ(0, prime_import(self->fd, dmabuf, &again));
	EXPECT_EQ(handle, again);

	/* Its fences are the buffer's. */
	ASSERT_EQ(0, vgem_attach(self->fd, handle, WRITE, &id));
	EXPECT_FALSE(readable(dmabuf));
	EXPECT_EQ(-EBUSY, vgem_attach(self->fd, handle, 0, NULL));
	EXPECT_EQ(0, vgem_signal(self->fd, id));
	EXPECT_TRUE(writable(dmabuf));

	/* Only its own driver can map it. */
	EXPECT_EQ(-EINVAL, dumb_offset(self->fd, handle));
	back = prime_export(self->fd, handle);
	EXPECT_LE(0, back);
	close(back);

	/* It outlives the handle and the client. */
	ASSERT_EQ(0, vgem_attach(self->fd, handle, WRITE, &id));
	EXPECT_EQ(0, gem_close(self->fd, handle));
	EXPECT_FALSE(readable(dmabuf));
	close(self->fd);
	self->fd = -1;
	EXPECT_TRUE(readable(dmabuf));
	close(dmabuf);
	close(memfd);
	close(udmabuf);
}

TEST_HARNESS_MAIN
