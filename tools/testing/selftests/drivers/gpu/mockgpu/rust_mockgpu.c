// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the sample driver rust_mockgpu: jobs, what they wait for and signal, the watchdog,
 * waiting for buffers, closing and unloading with jobs in flight, bad input, a client that may
 * have no more memory, and sync objects.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/dma-buf.h>
#include <linux/sync_file.h>

#include "kselftest_harness.h"
#include "rust_mockgpu.h"

#define MSEC		1000000LL
#define SEC		1000000000LL
/* The driver's. */
#define WATCHDOG	(500 * MSEC)
#define RING		64
/* Longer than the watchdog lets a job run. */
#define HANG		(1000 * SEC)

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SEC + ts.tv_nsec;
}

/* Returns what ioctl() does, or -errno, and does not try again. */
static int once(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

static int do_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	do {
		ret = once(fd, request, arg);
	} while (ret == -EINTR || ret == -EAGAIN);

	return ret;
}

static int open_node(const char *format, int first)
{
	char path[32];
	int i;

	for (i = first; i < first + 64; i++) {
		char name[16] = "";
		struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };
		int fd;

		snprintf(path, sizeof(path), format, i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!do_ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, "rust_mockgpu"))
			return fd;
		close(fd);
	}

	return -ENODEV;
}

static int open_gpu(void)
{
	return open_node("/dev/dri/renderD%d", 128);
}

static int create(int fd, uint32_t *handle)
{
	struct mockgpu_create arg = { .size = 4096 };
	int ret = do_ioctl(fd, DRM_IOCTL_MOCKGPU_CREATE, &arg);

	*handle = arg.handle;
	return ret;
}

/* Submits a job that uses a buffer, if handle is not 0. Returns a sync file, or -errno. */
static int submit(int fd, uint32_t handle, uint32_t flags, int64_t duration)
{
	struct mockgpu_buffer buffer = { .handle = handle, .flags = flags };
	struct mockgpu_submit arg = {
		.buffers = (uintptr_t)&buffer,
		.buffer_count = !!handle,
		.flags = MOCKGPU_SUBMIT_SYNC_FILE,
		.duration_ns = duration,
	};
	int ret = do_ioctl(fd, DRM_IOCTL_MOCKGPU_SUBMIT, &arg);

	return ret ? ret : (int)arg.sync_file;
}

/* Submits a job that waits for and signals one thing. */
static int submit_sync(int fd, struct mockgpu_sync *wait, struct mockgpu_sync *signal,
		       int64_t duration)
{
	struct mockgpu_submit arg = {
		.waits = (uintptr_t)wait,
		.wait_count = !!wait,
		.signals = (uintptr_t)signal,
		.signal_count = !!signal,
		.flags = MOCKGPU_SUBMIT_SYNC_FILE,
		.duration_ns = duration,
	};
	int ret = do_ioctl(fd, DRM_IOCTL_MOCKGPU_SUBMIT, &arg);

	return ret ? ret : (int)arg.sync_file;
}

static int wait_buffer(int fd, uint32_t handle, uint32_t flags, int64_t timeout)
{
	struct mockgpu_wait arg = { .handle = handle, .flags = flags, .timeout_ns = timeout };

	return do_ioctl(fd, DRM_IOCTL_MOCKGPU_WAIT, &arg);
}

/* Waits for a sync file. Returns its status: 1, or the error of its fence; 0 after 20 s. */
static int finish(int sync_file, int64_t *time)
{
	struct pollfd poll_fd = { .fd = sync_file, .events = POLLIN };
	struct sync_fence_info fence = { };
	struct sync_file_info info = {
		.num_fences = 1,
		.sync_fence_info = (uintptr_t)&fence,
	};

	poll(&poll_fd, 1, 20000);
	if (do_ioctl(sync_file, SYNC_IOC_FILE_INFO, &info))
		return 0;
	if (time)
		*time = fence.timestamp_ns;
	return info.status;
}

static bool is_signaled(int sync_file)
{
	struct pollfd poll_fd = { .fd = sync_file, .events = POLLIN };

	return poll(&poll_fd, 1, 0) == 1;
}

static uint32_t syncobj_create(int fd)
{
	struct drm_syncobj_create arg = { };

	return do_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &arg) ? 0 : arg.handle;
}

static int syncobj_wait(int fd, uint32_t handle, uint64_t point, int64_t timeout)
{
	struct drm_syncobj_timeline_wait arg = {
		.handles = (uintptr_t)&handle,
		.points = (uintptr_t)&point,
		.count_handles = 1,
		.timeout_nsec = timeout,
	};

	return do_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &arg);
}

static int prime_share(int fd, uint32_t handle, int other, uint32_t *other_handle)
{
	struct drm_prime_handle arg = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR };
	int ret = do_ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &arg);
	int dmabuf = arg.fd;

	if (ret)
		return ret;
	ret = do_ioctl(other, DRM_IOCTL_PRIME_FD_TO_HANDLE, &arg);
	*other_handle = arg.handle;
	close(dmabuf);
	return ret;
}

FIXTURE(mockgpu) {
	int fd;
	uint32_t handle;
};

FIXTURE_SETUP(mockgpu)
{
	self->fd = open_gpu();
	if (self->fd < 0)
		SKIP(return, "no rust_mockgpu device");
	ASSERT_EQ(0, create(self->fd, &self->handle));
}

FIXTURE_TEARDOWN(mockgpu)
{
	close(self->fd);
}

TEST_F(mockgpu, create)
{
	struct mockgpu_create arg = { .size = 1 };

	EXPECT_EQ(0, once(self->fd, DRM_IOCTL_MOCKGPU_CREATE, &arg));
	EXPECT_NE(0U, arg.handle);
	arg.size = 0;
	EXPECT_EQ(-EINVAL, once(self->fd, DRM_IOCTL_MOCKGPU_CREATE, &arg));
	arg.size = UINT64_MAX;
	EXPECT_EQ(-EINVAL, once(self->fd, DRM_IOCTL_MOCKGPU_CREATE, &arg));
	arg.size = 4096;
	arg.pad = 1;
	EXPECT_EQ(-EINVAL, once(self->fd, DRM_IOCTL_MOCKGPU_CREATE, &arg));
}

/* Jobs take as long as they say, and end in order. */
TEST_F(mockgpu, order)
{
	int64_t start = now(), time[3];
	int jobs[3], i;

	jobs[0] = submit(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, 60 * MSEC);
	jobs[1] = submit(self->fd, 0, 0, 0);
	jobs[2] = submit(self->fd, self->handle, 0, 20 * MSEC);
	for (i = 0; i < 3; i++) {
		ASSERT_LE(0, jobs[i]);
		EXPECT_EQ(1, finish(jobs[i], &time[i]));
		close(jobs[i]);
	}
	EXPECT_LE(start + 60 * MSEC, time[0]);
	EXPECT_LE(time[0], time[1]);
	EXPECT_LE(time[1] + 20 * MSEC, time[2]);
}

TEST_F(mockgpu, wait)
{
	int64_t start, left;
	int job;

	/* Idle: even what has passed. */
	EXPECT_EQ(0, wait_buffer(self->fd, self->handle, 0, 0));
	EXPECT_EQ(0, wait_buffer(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, INT64_MIN));

	start = now();
	job = submit(self->fd, self->handle, 0, 200 * MSEC);
	ASSERT_LE(0, job);
	/* Readers don't wait for readers. */
	EXPECT_EQ(0, wait_buffer(self->fd, self->handle, 0, 0));
	EXPECT_EQ(-ETIMEDOUT, wait_buffer(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, 0));
	EXPECT_EQ(-ETIMEDOUT, wait_buffer(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, 1));
	EXPECT_EQ(-ETIMEDOUT, wait_buffer(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, INT64_MIN));
	EXPECT_EQ(-ETIMEDOUT, wait_buffer(self->fd, self->handle, MOCKGPU_BUFFER_WRITE,
					  start + 50 * MSEC));
	left = now() - start;
	/* Timeouts are counted in jiffies, which may be late themselves. */
	EXPECT_LE(40 * MSEC, left);
	EXPECT_EQ(0, wait_buffer(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, INT64_MAX));
	EXPECT_LE(200 * MSEC, now() - start);
	EXPECT_EQ(1, finish(job, NULL));

	EXPECT_EQ(-ENOENT, wait_buffer(self->fd, self->handle + 1, 0, 0));
	EXPECT_EQ(-EINVAL, wait_buffer(self->fd, self->handle, 2, 0));
}

static atomic_int alarms;

static void on_alarm(int number)
{
	alarms++;
}

TEST_F(mockgpu, wait_is_interrupted)
{
	struct mockgpu_wait arg = { .handle = self->handle, .timeout_ns = INT64_MAX };
	struct itimerval timer = { .it_value.tv_usec = 50000 };
	struct sigaction action = { .sa_handler = on_alarm };
	int job = submit(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, 300 * MSEC);

	ASSERT_LE(0, job);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	EXPECT_EQ(-EINTR, once(self->fd, DRM_IOCTL_MOCKGPU_WAIT, &arg));
	EXPECT_FALSE(is_signaled(job));
	EXPECT_EQ(0, once(self->fd, DRM_IOCTL_MOCKGPU_WAIT, &arg));
	EXPECT_TRUE(is_signaled(job));
}

/*
 * A signal ends a SUBMIT that waits for the lock of a buffer, as another client maps it, and which
 * leaves nothing behind.
 */
TEST_F(mockgpu, submit_is_interrupted)
{
	struct mockgpu_create large = { .size = 1 << 30 };
	struct drm_prime_handle prime = { .flags = DRM_CLOEXEC | DRM_RDWR };
	struct mockgpu_buffer buffer = { .flags = MOCKGPU_BUFFER_WRITE };
	struct mockgpu_submit arg = { .buffers = (uintptr_t)&buffer, .buffer_count = 1 };
	struct itimerval timer = { { .tv_usec = 50000 }, { .tv_usec = 50000 } }, off = { };
	struct sigaction action = { .sa_handler = on_alarm };
	int pid, ret, done;
	int64_t took;

	ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_MOCKGPU_CREATE, &large));
	prime.handle = large.handle;
	buffer.handle = large.handle;
	ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		mmap(NULL, large.size, PROT_READ, MAP_SHARED, prime.fd, 0);
		_exit(0);
	}
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	/* Jobs are submitted until the other client has the lock. */
	do {
		took = now();
		ret = once(self->fd, DRM_IOCTL_MOCKGPU_SUBMIT, &arg);
		took = now() - took;
		done = waitpid(pid, NULL, WNOHANG);
	} while ((!ret || ret == -EBUSY) && !done);
	setitimer(ITIMER_REAL, &off, NULL);
	if (done)
		SKIP(return, "this machine maps 1 GB in no time");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_EQ(-EINTR, ret);
	EXPECT_GT(SEC, took);
	EXPECT_EQ(0, wait_buffer(self->fd, large.handle, MOCKGPU_BUFFER_WRITE, now() + SEC));
	EXPECT_EQ(1, finish(submit(self->fd, large.handle, MOCKGPU_BUFFER_WRITE, 0), NULL));
	close(prime.fd);
}

/* Explicit: a sync file of another queue, and one's own. */
TEST_F(mockgpu, wait_for_sync_file)
{
	struct mockgpu_sync wait = { .kind = MOCKGPU_SYNC_FILE };
	int other = open_gpu(), first, second;
	int64_t times[2];

	ASSERT_LE(0, other);
	first = submit(other, 0, 0, 100 * MSEC);
	ASSERT_LE(0, first);
	wait.handle = first;
	second = submit_sync(self->fd, &wait, NULL, 0);
	ASSERT_LE(0, second);
	EXPECT_EQ(1, finish(second, &times[1]));
	EXPECT_EQ(1, finish(first, &times[0]));
	EXPECT_LE(times[0], times[1]);

	/* It is signaled by now. */
	first = submit_sync(self->fd, &wait, NULL, 0);
	EXPECT_EQ(1, finish(first, NULL));

	first = submit(self->fd, 0, 0, 50 * MSEC);
	wait.handle = first;
	second = submit_sync(self->fd, &wait, NULL, 0);
	ASSERT_LE(0, second);
	EXPECT_EQ(1, finish(second, &times[1]));
	EXPECT_EQ(1, finish(first, &times[0]));
	EXPECT_LE(times[0], times[1]);
	close(other);
}

TEST_F(mockgpu, syncobjs)
{
	struct mockgpu_sync binary = { .kind = MOCKGPU_SYNC_OBJ };
	struct mockgpu_sync line = { .kind = MOCKGPU_SYNC_OBJ };
	struct mockgpu_sync wait;
	int64_t start = now();
	int job;

	binary.handle = syncobj_create(self->fd);
	line.handle = syncobj_create(self->fd);
	ASSERT_NE(0U, binary.handle);
	ASSERT_NE(0U, line.handle);

	job = submit_sync(self->fd, NULL, &binary, 50 * MSEC);
	ASSERT_LE(0, job);
	EXPECT_EQ(0, syncobj_wait(self->fd, binary.handle, 0, INT64_MAX));
	EXPECT_LE(50 * MSEC, now() - start);
	EXPECT_TRUE(is_signaled(job));
	close(job);

	line.point = 3;
	job = submit_sync(self->fd, &binary, &line, 50 * MSEC);
	close(job);
	line.point = 7;
	job = submit_sync(self->fd, NULL, &line, 0);
	ASSERT_LE(0, job);
	EXPECT_EQ(-ETIME, syncobj_wait(self->fd, line.handle, 7, now() + 10 * MSEC));
	/* To wait for a point that is not the last. */
	wait = line;
	wait.point = 2;
	close(submit_sync(self->fd, &wait, NULL, 0));
	EXPECT_EQ(0, syncobj_wait(self->fd, line.handle, 7, INT64_MAX));
	EXPECT_EQ(1, finish(job, NULL));
	close(job);

	/* It has not come to that point. */
	wait.point = 8;
	EXPECT_EQ(-EINVAL, submit_sync(self->fd, &wait, NULL, 0));
	/* Points that go back are user space's, which gets what it asks for. */
	line.point = 5;
	job = submit_sync(self->fd, NULL, &line, 0);
	ASSERT_LE(0, job);
	EXPECT_EQ(1, finish(job, NULL));
	EXPECT_EQ(0, syncobj_wait(self->fd, line.handle, 5, now() + SEC));
}

/* What a timeline exports is a chain, which can't be in another one. The kernel must not warn. */
TEST_F(mockgpu, timeline_in_timeline)
{
	struct mockgpu_sync line = { .kind = MOCKGPU_SYNC_OBJ, .handle = syncobj_create(self->fd) };
	int64_t start = now();
	int i;

	for (line.point = 1; line.point <= 2; line.point++)
		close(submit_sync(self->fd, NULL, &line, 50 * MSEC));

	for (i = 0; i < 100; i++) {
		struct drm_syncobj_handle arg = {
			.handle = line.handle,
			.flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE,
		};
		struct drm_syncobj_destroy old = { .handle = line.handle };

		ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &arg));
		line.handle = syncobj_create(self->fd);
		arg.handle = line.handle;
		arg.flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE |
			    DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_TIMELINE;
		arg.point = 7;
		ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &arg));
		close(arg.fd);
		ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_SYNCOBJ_DESTROY, &old));
	}

	EXPECT_EQ(0, syncobj_wait(self->fd, line.handle, 7, INT64_MAX));
	EXPECT_LE(100 * MSEC, now() - start);
}

/* An array of them would be 16 MB, which kmalloc() does not have. The kernel must not warn. */
TEST_F(mockgpu, many_handles)
{
	struct drm_syncobj_array arg = { .count_handles = 1 << 21 };

	EXPECT_EQ(-ENOMEM, do_ioctl(self->fd, DRM_IOCTL_SYNCOBJ_RESET, &arg));
}

/* Of two queues, through a buffer. */
TEST_F(mockgpu, implicit)
{
	int other = open_gpu(), write, read, read_too;
	int64_t times[3];
	uint32_t handle;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, prime_share(self->fd, self->handle, other, &handle));

	/* A reader waits for a writer, a writer for a reader. */
	write = submit(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, 80 * MSEC);
	read = submit(other, handle, 0, 80 * MSEC);
	ASSERT_LE(0, write);
	ASSERT_LE(0, read);
	EXPECT_FALSE(is_signaled(write));
	EXPECT_EQ(1, finish(read, &times[1]));
	EXPECT_EQ(1, finish(write, &times[0]));
	EXPECT_LE(times[0] + 80 * MSEC, times[1]);

	/* Readers don't wait for each other. */
	read = submit(self->fd, self->handle, 0, 400 * MSEC);
	read_too = submit(other, handle, 0, 0);
	write = submit(other, handle, MOCKGPU_BUFFER_WRITE, 0);
	EXPECT_EQ(1, finish(read_too, &times[1]));
	EXPECT_FALSE(is_signaled(read));
	EXPECT_EQ(1, finish(write, &times[2]));
	EXPECT_EQ(1, finish(read, &times[0]));
	EXPECT_LE(times[1], times[0]);
	EXPECT_LE(times[0], times[2]);
	close(other);
}

/* As many as there may be, some more than once; what is written to once is written to. */
TEST_F(mockgpu, many_buffers)
{
	struct mockgpu_buffer buffers[MOCKGPU_MAX_COUNT + 1] = { };
	struct mockgpu_submit arg = {
		.buffers = (uintptr_t)buffers,
		.buffer_count = MOCKGPU_MAX_COUNT,
		.duration_ns = 200 * MSEC,
	};
	int i;

	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, create(self->fd, &buffers[i].handle));
	for (; i < MOCKGPU_MAX_COUNT + 1; i++)
		buffers[i].handle = buffers[i % 8].handle;
	buffers[8 + 3].flags = MOCKGPU_BUFFER_WRITE;

	ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_MOCKGPU_SUBMIT, &arg));
	for (i = 0; i < 8; i++)
		EXPECT_EQ(i == 3 ? -ETIMEDOUT : 0, wait_buffer(self->fd, buffers[i].handle, 0, 0));
	EXPECT_EQ(0, wait_buffer(self->fd, buffers[3].handle, MOCKGPU_BUFFER_WRITE, INT64_MAX));

	arg.buffer_count++;
	EXPECT_EQ(-EINVAL, do_ioctl(self->fd, DRM_IOCTL_MOCKGPU_SUBMIT, &arg));
}

/* The handle may go before the job has ended. */
TEST_F(mockgpu, buffer_goes_first)
{
	struct drm_gem_close arg = { .handle = self->handle };
	int job = submit(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, 50 * MSEC);

	ASSERT_LE(0, job);
	EXPECT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_GEM_CLOSE, &arg));
	EXPECT_EQ(-ENOENT, submit(self->fd, self->handle, 0, 0));
	EXPECT_EQ(1, finish(job, NULL));
}

TEST_F(mockgpu, hang)
{
	int64_t start = now(), time;
	int jobs[3], i;

	jobs[0] = submit(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, HANG);
	jobs[1] = submit(self->fd, self->handle, 0, 10 * MSEC);
	jobs[2] = submit(self->fd, 0, 0, INT64_MAX);
	for (i = 0; i < 3; i++)
		ASSERT_LE(0, jobs[i]);
	EXPECT_EQ(-ETIME, finish(jobs[0], &time));
	EXPECT_LE(start + WATCHDOG, time);
	EXPECT_EQ(1, finish(jobs[1], NULL));
	EXPECT_EQ(-ETIME, finish(jobs[2], NULL));
	/* It goes on. */
	EXPECT_EQ(1, finish(submit(self->fd, self->handle, 0, 0), NULL));
}

TEST_F(mockgpu, full_ring)
{
	struct mockgpu_sync wait = { .kind = MOCKGPU_SYNC_FILE };
	int other = open_gpu(), jobs[RING + 2], i, n;

	ASSERT_LE(0, other);
	/* The watchdog needs half a minute for these, unless the file is closed. */
	for (i = 0; i < RING - 4; i++) {
		wait.handle = submit(other, 0, 0, HANG);
		ASSERT_LE(0, (int)wait.handle);
	}
	/* The first is taken out of the ring, and waits for them. */
	jobs[0] = submit_sync(self->fd, &wait, NULL, 0);
	ASSERT_LE(0, jobs[0]);
	usleep(50000);
	for (n = 1; n < RING + 2; n++) {
		jobs[n] = submit(self->fd, self->handle, 0, 0);
		if (jobs[n] < 0)
			break;
	}
	EXPECT_EQ(RING + 1, n);
	EXPECT_EQ(-EBUSY, jobs[n]);
	close(other);
	for (i = 0; i < n; i++) {
		EXPECT_EQ(1, finish(jobs[i], NULL));
		close(jobs[i]);
	}
	EXPECT_EQ(1, finish(submit(self->fd, self->handle, 0, 0), NULL));
}

/* Each fails, and leaves everything as it was. */
TEST_F(mockgpu, bad_input)
{
	struct mockgpu_buffer buffers[2] = {
		{ .handle = self->handle, .flags = MOCKGPU_BUFFER_WRITE },
		{ .handle = self->handle },
	};
	struct mockgpu_sync waits[2] = { }, signals[2] = { };
	const struct mockgpu_submit good = {
		.buffers = (uintptr_t)buffers,
		.buffer_count = 2,
		.waits = (uintptr_t)waits,
		.wait_count = 1,
		.signals = (uintptr_t)signals,
		.signal_count = 1,
		.duration_ns = 300 * MSEC,
		.sync_file = 0xdeadbeef,
	};
	uint32_t binary = syncobj_create(self->fd), done = syncobj_create(self->fd);
	struct mockgpu_submit arg;
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int devnull = open("/dev/null", O_RDWR), fds[128], i;
	struct rlimit limit, none;

#define BAD(error, change)	do {							\
		waits[0] = (struct mockgpu_sync){ .kind = MOCKGPU_SYNC_OBJ, .handle = done };	\
		signals[0] = (struct mockgpu_sync){ .kind = MOCKGPU_SYNC_OBJ, .handle = binary }; \
		buffers[1] = (struct mockgpu_buffer){ .handle = self->handle };		\
		arg = good;								\
		change;									\
		EXPECT_EQ(error, once(self->fd, DRM_IOCTL_MOCKGPU_SUBMIT, &arg))	\
			TH_LOG("%s", #change);						\
		EXPECT_EQ(0xdeadbeef, arg.sync_file);					\
	} while (0)

	/* A fence that is there. */
	signals[0] = (struct mockgpu_sync){ .kind = MOCKGPU_SYNC_OBJ, .handle = done };
	EXPECT_EQ(1, finish(submit_sync(self->fd, NULL, &signals[0], 0), NULL));

	BAD(-EINVAL, arg.flags = 2);
	BAD(-EINVAL, arg.flags = 0x80000001);
	BAD(-EINVAL, arg.pad = 1);
	BAD(-EINVAL, arg.duration_ns = 1ULL << 63);
	BAD(-EINVAL, arg.buffer_count = 65);
	BAD(-EINVAL, arg.buffer_count = UINT32_MAX);
	BAD(-EINVAL, arg.wait_count = 0x20000001);
	BAD(-EINVAL, arg.signal_count = UINT32_MAX);
	BAD(-EFAULT, arg.buffers = 0);
	BAD(-EFAULT, arg.waits = UINT64_MAX);
	BAD(-EFAULT, arg.signals = 1ULL << 63);
	BAD(-EINVAL, buffers[1].flags = 2);
	BAD(-ENOENT, buffers[1].handle = self->handle + 100);
	BAD(-ENOENT, buffers[1].handle = 0);
	BAD(-EINVAL, waits[0].kind = 2);
	BAD(-ENOENT, waits[0].handle = 1000);
	BAD(-EINVAL, waits[0].point = 1);
	BAD(-EINVAL, waits[0].handle = binary);
	BAD(-EINVAL, waits[0] = ((struct mockgpu_sync){ .handle = devnull }));
	BAD(-EINVAL, waits[0] = ((struct mockgpu_sync){ .handle = self->fd }));
	BAD(-EINVAL, waits[0] = ((struct mockgpu_sync){ .handle = UINT32_MAX }));
	BAD(-EINVAL, signals[0].kind = MOCKGPU_SYNC_FILE);
	BAD(-ENOENT, signals[0].handle = 1000);
	BAD(-ENOENT, signals[0].handle = 0);

	/* It faults half way. */
	ASSERT_NE(MAP_FAILED, page);
	munmap(page + 4096, 4096);
	memcpy(page + 4096 - sizeof(buffers[0]), buffers, sizeof(buffers[0]));
	BAD(-EFAULT, arg.buffers = (uintptr_t)(page + 4096 - sizeof(buffers[0])));

	/* No file descriptors. */
	getrlimit(RLIMIT_NOFILE, &limit);
	none = limit;
	none.rlim_cur = 64;
	setrlimit(RLIMIT_NOFILE, &none);
	for (i = 0; i < 128; i++)
		fds[i] = dup(devnull);
	BAD(-EMFILE, arg.flags = MOCKGPU_SUBMIT_SYNC_FILE);
	for (i = 0; i < 128; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	setrlimit(RLIMIT_NOFILE, &limit);

	/* Nothing was submitted: the buffer is idle, and there is no fence in the sync object. */
	EXPECT_EQ(0, wait_buffer(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, 0));
	EXPECT_EQ(-EINVAL, syncobj_wait(self->fd, binary, 0, 0));
	EXPECT_EQ(1, finish(submit(self->fd, self->handle, 0, 0), NULL));
	close(devnull);
}

/* Jobs that run, wait and hang are canceled, at once. */
TEST_F(mockgpu, close_in_flight)
{
	struct mockgpu_sync wait = { .kind = MOCKGPU_SYNC_FILE };
	int other = open_gpu(), jobs[10], i, hung;
	int64_t start, times[10];
	uint32_t handle;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, create(other, &handle));
	hung = submit(self->fd, 0, 0, HANG);
	wait.handle = hung;

	jobs[0] = submit(other, handle, MOCKGPU_BUFFER_WRITE, HANG);
	jobs[1] = submit_sync(other, &wait, NULL, HANG);
	for (i = 2; i < 10; i++)
		jobs[i] = submit(other, handle, MOCKGPU_BUFFER_WRITE, 300 * MSEC);
	start = now();
	close(other);
	for (i = 0; i < 10; i++)
		EXPECT_TRUE(is_signaled(jobs[i]));
	EXPECT_GT(start + WATCHDOG, now());
	for (i = 0; i < 10; i++) {
		EXPECT_EQ(-ECANCELED, finish(jobs[i], &times[i]));
		if (i)
			EXPECT_LE(times[i - 1], times[i]);
		close(jobs[i]);
	}

	/* One that waits for another queue, with a callback on its fence. */
	other = open_gpu();
	jobs[0] = submit_sync(other, &wait, NULL, 0);
	ASSERT_LE(0, jobs[0]);
	usleep(20000);
	close(other);
	EXPECT_EQ(-ECANCELED, finish(jobs[0], NULL));
	EXPECT_EQ(-ETIME, finish(hung, NULL));
}

/* A client that is killed does what one that closes does. */
TEST_F(mockgpu, killed)
{
	int pipe_fds[2], other, pid, job;
	uint32_t handle;

	other = open_gpu();
	ASSERT_LE(0, other);
	ASSERT_EQ(0, create(other, &handle));
	job = submit(other, handle, MOCKGPU_BUFFER_WRITE, HANG);
	ASSERT_LE(0, job);
	ASSERT_EQ(0, pipe(pipe_fds));
	pid = fork();
	if (!pid) {
		/* It waits with the only file that there is left. */
		close(self->fd);
		if (write(pipe_fds[1], "", 1) != 1)
			_exit(1);
		submit(other, handle, MOCKGPU_BUFFER_WRITE, HANG);
		wait_buffer(other, handle, 0, INT64_MAX);
		wait_buffer(other, handle, 0, INT64_MAX);
		_exit(0);
	}
	close(other);
	ASSERT_EQ(1, read(pipe_fds[0], &handle, 1));
	usleep(50000);
	/* The other one has the file. */
	EXPECT_FALSE(is_signaled(job));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_EQ(-ECANCELED, finish(job, NULL));
}

#define THREADS		4
#define ROUNDS		500

static void *race(void *arg)
{
	unsigned int seed = (uintptr_t)arg;
	uintptr_t errors = 0;
	int i, j;

	for (i = 0; i < ROUNDS; i++) {
		int fd = open_gpu(), sync_file = -1;
		uint32_t handle;

		if (fd < 0 || create(fd, &handle)) {
			errors++;
			continue;
		}
		for (j = rand_r(&seed) % 4; j >= 0; j--) {
			if (sync_file >= 0)
				close(sync_file);
			sync_file = submit(fd, handle, rand_r(&seed) % 2,
					   rand_r(&seed) % (400 * 1000));
		}
		if (rand_r(&seed) % 2)
			usleep(rand_r(&seed) % 400);
		close(fd);
		/* Closing has waited for all of it. */
		if (sync_file < 0 || !is_signaled(sync_file))
			errors++;
		close(sync_file);
	}

	return (void *)errors;
}

/* Closing against completion. */
TEST_F_TIMEOUT(mockgpu, race, 300)
{
	pthread_t threads[THREADS];
	void *errors;
	int i;

	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, race, (void *)(uintptr_t)(i + 1)));
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &errors);
		EXPECT_EQ(0UL, (uintptr_t)errors);
	}
}

#define SYNC		"/sys/kernel/debug/sync/"

struct sw_sync_create_fence_data {
	uint32_t value;
	char name[32];
	int32_t fence;
};

#define SW_SYNC_IOC_CREATE_FENCE _IOWR('W', 0, struct sw_sync_create_fence_data)

/* How many timelines of sw_sync programs of this name have that are open or have a fence. */
static int timelines(void)
{
	FILE *info = fopen(SYNC "info", "re");
	char line[256];
	int count = 0;

	if (!info)
		return -1;
	while (fgets(line, sizeof(line), info))
		count += !strncmp(line, "rust_mockgpu: ", strlen("rust_mockgpu: "));
	fclose(info);
	return count;
}

struct transfer {
	int fd, ret;
	struct drm_syncobj_transfer arg;
};

static void *transfer(void *data)
{
	struct transfer *transfer = data;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
	transfer->ret = once(transfer->fd, DRM_IOCTL_SYNCOBJ_TRANSFER, &transfer->arg);
	return NULL;
}

/*
 * A sync object gets a fence, and a signal ends a TRANSFER that waits for this, at once. Whichever
 * is first, nobody may keep the fence. Before the fence comes to the TRANSFER, the lock of the
 * sync object is held for long, as others wait for a point that the fence does not have.
 */
TEST_F_TIMEOUT(mockgpu, transfer_is_interrupted, 120)
{
	enum { OTHERS = 1 << 14, TRANSFERS = 20 };
	static uint32_t handles[OTHERS];
	static uint64_t points[OTHERS];
	struct transfer wait = {
		.fd = self->fd,
		.arg = {
			.src_handle = syncobj_create(self->fd),
			.dst_handle = syncobj_create(self->fd),
			.flags = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT,
		},
	};
	struct drm_syncobj_timeline_wait others = {
		.handles = (uintptr_t)handles,
		.points = (uintptr_t)points,
		.timeout_nsec = INT64_MAX,
		.count_handles = OTHERS,
		.flags = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL | DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT,
	};
	uint32_t both[2] = { wait.arg.src_handle, wait.arg.dst_handle };
	struct drm_syncobj_array reset = { .handles = (uintptr_t)both, .count_handles = 2 };
	struct sigaction action = { .sa_handler = on_alarm };
	int before, interrupted = 0, late = 0, i;
	struct itimerval timer = { };
	int64_t took = 2 * MSEC;
	sigset_t signals;
	pid_t pid;

	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	before = timelines();
	if (before < 0 || access(SYNC "sw_sync", R_OK | W_OK))
		SKIP(return, "needs root, and a kernel with SW_SYNC");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "there is only one CPU");
	for (i = 0; i < OTHERS; i++) {
		handles[i] = wait.arg.src_handle;
		points[i] = 1;
	}
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(once(self->fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &others));
	sigaction(SIGALRM, &action, NULL);
	/* For the other thread. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	usleep(500000);

	for (i = 0; i < TRANSFERS; i++) {
		struct sw_sync_create_fence_data fence = { .value = 1 };
		struct drm_syncobj_handle import = {
			.handle = wait.arg.src_handle,
			.flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE,
		};
		int timeline = open(SYNC "sw_sync", O_RDWR | O_CLOEXEC), old;
		pthread_t thread;

		ASSERT_EQ(0, do_ioctl(timeline, SW_SYNC_IOC_CREATE_FENCE, &fence));
		ASSERT_EQ(0, pthread_create(&thread, NULL, transfer, &wait));
		usleep(10000);
		/* The signal comes when half of the others were looked at. */
		timer.it_value.tv_usec = took / 2000 ?: 1;
		import.fd = fence.fence;
		old = alarms;
		took = now();
		setitimer(ITIMER_REAL, &timer, NULL);
		EXPECT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &import));
		took = now() - took;
		pthread_join(thread, NULL);
		EXPECT_TRUE(!wait.ret || wait.ret == -EINTR);
		interrupted += !!wait.ret;
		late += !wait.ret && alarms != old;
		ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_SYNCOBJ_RESET, &reset));
		close(fence.fence);
		close(timeline);
	}
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	TH_LOG("of %d, %d were interrupted, and %d got a fence despite a signal; it took %.3f ms",
	       TRANSFERS, interrupted, late, took / 1e6);
	/* Else it proves nothing. */
	EXPECT_LT(0, late);
	EXPECT_EQ(before, timelines());
}

/*
 * The callback of an eventfd has the last reference to a fence of sw_sync, whose lock is held while
 * closing the timeline signals it.
 */
TEST_F(mockgpu, eventfd_has_last_reference)
{
	struct sw_sync_create_fence_data fence = { .value = 1 };
	struct drm_syncobj_eventfd event = { .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	struct drm_syncobj_handle import = {
		.flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE,
	};
	struct drm_syncobj_destroy destroy = { };
	uint64_t count = 0;
	int timeline;

	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	if (access(SYNC "sw_sync", R_OK | W_OK))
		SKIP(return, "needs root, and a kernel with SW_SYNC");
	timeline = open(SYNC "sw_sync", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, timeline);
	ASSERT_EQ(0, do_ioctl(timeline, SW_SYNC_IOC_CREATE_FENCE, &fence));
	destroy.handle = syncobj_create(self->fd);
	event.handle = destroy.handle;
	import.handle = destroy.handle;
	import.fd = fence.fence;
	ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &import));
	ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_SYNCOBJ_EVENTFD, &event));
	close(fence.fence);
	ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_SYNCOBJ_DESTROY, &destroy));
	close(timeline);
	EXPECT_EQ(sizeof(count), read(event.fd, &count, sizeof(count)));
	EXPECT_EQ(1, count);
	close(event.fd);
}

/* A job waits for more fences than fit in two pages. */
TEST_F_TIMEOUT(mockgpu, many_fences, 120)
{
	enum { FENCES = 1100 };
	const struct rlimit files = { FENCES + 64, FENCES + 64 };
	struct drm_prime_handle share = { .handle = self->handle, .flags = DRM_CLOEXEC | DRM_RDWR };
	struct dma_buf_import_sync_file import = { .flags = DMA_BUF_SYNC_READ };
	struct sw_sync_create_fence_data fence = { .value = 1 };
	int lines[FENCES], job, i;

	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	if (access(SYNC "sw_sync", R_OK | W_OK) || setrlimit(RLIMIT_NOFILE, &files))
		SKIP(return, "needs root, and a kernel with SW_SYNC");
	ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &share));
	for (i = 0; i < FENCES; i++) {
		lines[i] = open(SYNC "sw_sync", O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, lines[i]);
		ASSERT_EQ(0, do_ioctl(lines[i], SW_SYNC_IOC_CREATE_FENCE, &fence));
		import.fd = fence.fence;
		ASSERT_EQ(0, do_ioctl(share.fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import));
		close(fence.fence);
	}
	job = submit(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, 0);
	ASSERT_LE(0, job);
	for (i = 0; i < FENCES; i++) {
		EXPECT_FALSE(is_signaled(job));
		close(lines[i]);
	}
	EXPECT_EQ(1, finish(job, NULL));
	close(job);
	close(share.fd);
}

/*
 * A job that waits for a point behind 100,000 others, or as many as there are in a minute. The
 * first one is not signaled meanwhile: in 4 files, one after the other, jobs hang for half a
 * minute each.
 */
TEST_F_TIMEOUT(mockgpu, long_chain, 300)
{
	struct mockgpu_sync before = { .kind = MOCKGPU_SYNC_FILE };
	struct mockgpu_sync line = {
		.kind = MOCKGPU_SYNC_OBJ,
		.handle = syncobj_create(self->fd),
		.point = 1,
	};
	struct drm_syncobj_timeline_array signal = {
		.handles = (uintptr_t)&line.handle,
		.points = (uintptr_t)&line.point,
		.count_handles = 1,
	};
	int fds[4], jobs[4 * 60], first, waits, i;
	int64_t end = now() + 60 * SEC;

	for (i = 0; i < 4 * 60; i++) {
		if (i % 60 == 0) {
			fds[i / 60] = open_gpu();
			ASSERT_LE(0, fds[i / 60]);
		}
		jobs[i] = submit_sync(fds[i / 60], i ? &before : NULL, NULL, HANG);
		ASSERT_LE(0, jobs[i]);
		before.handle = jobs[i];
	}
	first = submit_sync(self->fd, &before, &line, 0);
	ASSERT_LE(0, first);
	for (line.point = 2; line.point <= 100000 && now() < end; line.point++)
		ASSERT_EQ(0, do_ioctl(self->fd, DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, &signal));

	line.point--;
	waits = submit_sync(self->fd, &line, NULL, 0);
	EXPECT_LE(0, waits);
	EXPECT_FALSE(is_signaled(first));
	/* All of it goes. */
	close(self->fd);
	EXPECT_EQ(-ECANCELED, finish(waits, NULL));
	close(first);
	for (i = 0; i < 4 * 60; i++)
		close(jobs[i]);
	for (i = 0; i < 4; i++)
		close(fds[i]);
	self->fd = open_gpu();
}

static bool loaded(void)
{
	return !access("/sys/module/rust_mockgpu/initstate", F_OK);
}

/* Returns 0, or -errno: -EAGAIN if it is in use. */
static int unload(void)
{
	return syscall(SYS_delete_module, "rust_mockgpu", O_NONBLOCK) ? -errno : 0;
}

/* Files keep the module, sync files don't. */
TEST_F(mockgpu, unload)
{
	int jobs[4], i;

	if (geteuid() || !loaded())
		SKIP(return, "rust_mockgpu is not a module, or I am not root");

	jobs[0] = submit(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, 0);
	EXPECT_EQ(1, finish(jobs[0], NULL));
	jobs[1] = submit(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, HANG);
	jobs[2] = submit(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, 0);
	jobs[3] = submit(self->fd, 0, 0, HANG);
	EXPECT_EQ(-EAGAIN, unload());
	close(self->fd);
	EXPECT_EQ(0, unload());
	EXPECT_FALSE(loaded());

	EXPECT_EQ(1, finish(jobs[0], NULL));
	for (i = 1; i < 4; i++)
		EXPECT_EQ(-ECANCELED, finish(jobs[i], NULL));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, close(jobs[i]));
	/* What is left of them goes after a grace period. */
	sleep(1);
	EXPECT_EQ(0, system("modprobe rust_mockgpu"));
	self->fd = open_gpu();
	EXPECT_LE(0, self->fd);
}

/* A client that waits keeps the module, and does not notice. */
TEST_F(mockgpu, unload_during_wait)
{
	int jobs[4], pid, status = -1, i;

	if (geteuid() || !loaded())
		SKIP(return, "rust_mockgpu is not a module, or I am not root");

	/* The watchdog takes 2 s for these. */
	for (i = 0; i < 4; i++)
		jobs[i] = submit(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, HANG);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(-wait_buffer(self->fd, self->handle, 0, now() + 20 * SEC));
	/* From here on the other process alone has the file. */
	close(self->fd);
	for (i = 0; i < 10; i++) {
		EXPECT_EQ(-EAGAIN, unload());
		usleep(10000);
	}
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	EXPECT_FALSE(is_signaled(jobs[3]));

	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_EQ(-ETIME, finish(jobs[3], NULL));
	EXPECT_EQ(0, unload());
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, close(jobs[i]));
	EXPECT_EQ(0, system("modprobe rust_mockgpu"));
	self->fd = open_gpu();
	EXPECT_LE(0, self->fd);
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret = fd < 0 || write(fd, text, strlen(text)) < 0;

	close(fd);
	return ret;
}

/* Its jobs are charged to a client, which is stopped at its limit, and leaves nothing. */
TEST_F_TIMEOUT(mockgpu, memory_max, 300)
{
	char top[] = "/tmp/mockgpu-XXXXXX", number[32];
	struct mockgpu_submit arg = { .duration_ns = HANG };
	struct rlimit files = { 1024, 1024 };
	int pid, status = 0, fd = -1, ret = 0, i, jobs = 0;

	/* A mount that nobody else sees, and that ends with this process. */
	ASSERT_NE(NULL, mkdtemp(top));
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", top, "cgroup2", 0, NULL)) {
		rmdir(top);
		SKIP(return, "needs root, and cgroup2");
	}
	EXPECT_EQ(0, chdir(top));
	write_file("cgroup.subtree_control", "+memory");
	mkdir("mockgpu", 0755);
	EXPECT_EQ(0, write_file("mockgpu/memory.max", "4194304"));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* Memory is to be the limit, and not the number of files. */
		if (setrlimit(RLIMIT_NOFILE, &files) || write_file("mockgpu/cgroup.procs", "0"))
			_exit(1);
		/* More than fit. */
		for (i = 0; i < 512 * RING && ret >= 0; i++) {
			if (i % RING == 0) {
				fd = open_gpu();
				ret = fd;
			}
			if (ret >= 0)
				ret = do_ioctl(fd, DRM_IOCTL_MOCKGPU_SUBMIT, &arg);
			jobs += ret >= 0;
		}
		/* open_gpu() does not say why a node can't be opened, but the first one can. */
		_exit(jobs && (ret == -ENOMEM || ret == -ENODEV) ? 0 : 2);
	}
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	/* It was killed, or got an error. */
	EXPECT_EQ(WIFSIGNALED(status) ? SIGKILL : 0, status & 0xff7f);
	/* Others are not bothered, and the memory comes back, after a grace period. */
	EXPECT_EQ(1, finish(submit(self->fd, self->handle, MOCKGPU_BUFFER_WRITE, 0), NULL));
	for (i = 0, ret = 1; i < 100 && ret; i++) {
		usleep(100000);
		fd = open("mockgpu/memory.current", O_RDONLY);
		memset(number, 0, sizeof(number));
		ret = read(fd, number, sizeof(number) - 1) <= 0 || atoll(number) > 1024 * 1024;
		close(fd);
	}
	EXPECT_EQ(0, ret) TH_LOG("%s bytes are left", number);
	EXPECT_EQ(0, rmdir("mockgpu"));
	EXPECT_EQ(0, chdir("/"));
	EXPECT_EQ(0, umount(top));
	EXPECT_EQ(0, rmdir(top));
}

TEST_HARNESS_MAIN
