// SPDX-License-Identifier: GPL-2.0
/* What a client of VGEM may have to wait for, and that it can be killed meanwhile. */

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "vgem_common.h"

#define WRITE	VGEM_FENCE_WRITE

/* The time that a client has to end once it was killed. */
#define PROMPT	NSEC_PER_SEC

/* A child that does one thing which may take long, and then reports that. */
struct child {
	pid_t pid;
	int done;
};

/* Returns whether this is the child, which has to call child_ends(). */
static bool child_begins(struct child *child)
{
	int fds[2];

	if (pipe(fds))
		exit(1);
	child->pid = fork();
	child->done = fds[!child->pid];
	close(fds[!!child->pid]);
	return !child->pid;
}

static void child_ends(struct child *child, int status)
{
	(void)!write(child->done, "", 1);
	_exit(status);
}

static bool child_is_done(struct child *child, int ms)
{
	return poll_fd(child->done, POLLIN, ms) > 0;
}

/* Kills a child, and returns how long it takes to end. */
static int64_t child_kill(struct child *child)
{
	int64_t start = now();

	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	close(child->done);
	return now() - start;
}

static long shmem_kb(void)
{
	return read_number("/proc/meminfo", "Shmem:");
}

/* A buffer of this size, or more on a fast machine, takes long to map: at least LONG. */
#define LARGE	0x40000000L
#define LONG	NSEC_PER_SEC

/* The size of a buffer that takes LONG to map, by how long a small one does. */
static int64_t large(int fd)
{
	const long small = LARGE / 16;
	int64_t took, size;
	uint32_t handle;
	void *map;

	if (dumb_create(fd, small / sysconf(_SC_PAGESIZE), &handle))
		return LARGE;
	took = now();
	map = mmap(NULL, small, PROT_READ, MAP_SHARED, fd, dumb_offset(fd, handle));
	took = now() - took;
	gem_close(fd, handle);
	if (map == MAP_FAILED)
		return LARGE;
	munmap(map, small);
	size = LONG / took * small;
	return size > LARGE ? size : LARGE;
}

FIXTURE(vgem) {
	int fd;
	long page;
	int64_t large;
};

FIXTURE_SETUP(vgem)
{
	int64_t available;

	self->page = sysconf(_SC_PAGESIZE);
	self->fd = vgem_open();
	if (self->fd < 0)
		SKIP(return, "no VGEM device, or no right to open it");
	self->large = large(self->fd);
	available = read_number("/proc/meminfo", "MemAvailable:");
	/* DRM has no larger dumb buffers. */
	if (self->large > UINT32_MAX || self->large > LONG_MAX)
		SKIP(return, "no buffer is so large that it takes long to map");
	if (self->large > available * 1024 / 4 * 3)
		SKIP(return, "too little memory for a buffer that takes long to map");
}

FIXTURE_TEARDOWN(vgem)
{
	close(self->fd);
}

/* Returns a child that has begun to map it, and so holds its lock, or is about to. */
static struct child mapper(int fd, uint32_t handle, long size)
{
	int64_t offset = dumb_offset(fd, handle), end = now() + 10 * NSEC_PER_SEC;
	long before = shmem_kb();
	struct child child;

	if (child_begins(&child)) {
		void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, offset);

		child_ends(&child, map == MAP_FAILED);
	}
	while (shmem_kb() < before + 1024 && now() < end)
		usleep(1000);
	return child;
}

/* Mapping gets all pages of a buffer, but goes on no longer than the client. */
TEST_F_TIMEOUT(vgem, mapping_is_killed, 240)
{
	static const int after_ms[] = { 0, 100, 300, 1000, 3000 };
	int64_t took, longest = 0;
	long before = shmem_kb();
	uint32_t handle;
	int mapping = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(after_ms); i++) {
		struct child child;

		ASSERT_EQ(0, dumb_create(self->fd, self->large / self->page, &handle));
		child = mapper(self->fd, handle, self->large);
		mapping += !child_is_done(&child, after_ms[i]);
		took = child_kill(&child);
		if (took > longest)
			longest = took;
		ASSERT_EQ(0, gem_close(self->fd, handle));
	}
	TH_LOG("%d of %zu were killed as they mapped; at most %.3f s to end", mapping, i,
	       longest / 1e9);
	EXPECT_LE(3, mapping);
	EXPECT_GT(PROMPT, longest);
	for (i = 0; i < 30 && shmem_kb() > before + 1024; i++)
		usleep(100000);
	EXPECT_GE(before + 1024, shmem_kb());
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* That a buffer is busy is said at once, even if its lock is held for long. */
TEST_F_TIMEOUT(vgem, busy_does_not_wait, 240)
{
	enum { ROUNDS = 20 };
	int64_t times[ROUNDS];
	int i, held = 0;

	for (i = 0; i < ROUNDS; i++) {
		struct child holder;
		uint32_t handle, id;

		ASSERT_EQ(0, dumb_create(self->fd, self->large / self->page, &handle));
		ASSERT_EQ(0, vgem_attach(self->fd, handle, WRITE, &id));
		holder = mapper(self->fd, handle, self->large);
		times[i] = now();
		EXPECT_EQ(-EBUSY, vgem_attach(self->fd, handle, WRITE, NULL));
		times[i] = now() - times[i];
		held += !child_is_done(&holder, 0);
		child_kill(&holder);
		ASSERT_EQ(0, vgem_signal(self->fd, id));
		ASSERT_EQ(0, gem_close(self->fd, handle));
	}
	qsort(times, ROUNDS, sizeof(times[0]), compare);
	TH_LOG("ATTACH says EBUSY after %.3f ms, median, and %.3f ms, worst of %d",
	       times[ROUNDS / 2] / 1e6, times[ROUNDS - 1] / 1e6, ROUNDS);
	EXPECT_EQ(ROUNDS, held);
	EXPECT_GT(5 * NSEC_PER_MSEC, times[ROUNDS / 2]);
}

/* Nor does one without memory for a fence wait, as nobody needs the lock to allocate it. */
TEST_F_TIMEOUT(vgem, no_memory_does_not_wait, 120)
{
	struct child holder;
	uint32_t handle;
	int64_t took;

	ASSERT_EQ(0, dumb_create(self->fd, self->large / self->page, &handle));
	if (!fail_begins())
		SKIP(return, NO_FAILSLAB);
	holder = mapper(self->fd, handle, self->large);
	fail_nth(1);
	took = now();
	EXPECT_EQ(-ENOMEM, vgem_attach(self->fd, handle, WRITE, NULL));
	took = now() - took;
	EXPECT_TRUE(failed_nth());
	/* Else it proves nothing. */
	EXPECT_FALSE(child_is_done(&holder, 0));
	EXPECT_GT(PROMPT, took) {
		TH_LOG("it failed after %.3f s", took / 1e9);
	}
	child_kill(&holder);
	fail_ends();
}

/* What a handler writes to when it has run. */
static int handled[2];

static void on_signal(int signal)
{
	(void)!write(handled[1], "", 1);
}

/*
 * Keeps this task and its children on one CPU. A task that waits for a mutex may spin while the
 * holder runs on another CPU, and takes no signal meanwhile.
 */
static int use_one_cpu(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	return sched_setaffinity(0, sizeof(cpus), &cpus);
}

/*
 * ATTACH has to wait for the lock of a buffer that is not busy, and not after the signal. Where its
 * handler has SA_RESTART, the handler runs, and then it waits again until it has the lock.
 */
static int attach_until(struct __test_metadata *_metadata, int fd, uint32_t handle, long size,
			int signal, int flags)
{
	struct drm_vgem_fence_attach arg = { .handle = handle, .flags = WRITE };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = flags };
	struct child holder, child;
	int status = -1;
	int64_t start;

	if (pipe(handled) || use_one_cpu())
		return -1;
	sigaction(SIGUSR1, &action, NULL);
	holder = mapper(fd, handle, size);
	if (child_begins(&child)) {
		status = ioctl(fd, DRM_IOCTL_VGEM_FENCE_ATTACH, &arg) ? errno : 0;
		child_ends(&child, status);
	}
	EXPECT_FALSE(child_is_done(&child, 300));
	start = now();
	kill(child.pid, signal);
	if (flags & SA_RESTART) {
		EXPECT_EQ(POLLIN, poll_fd(handled[0], POLLIN, PROMPT / NSEC_PER_MSEC));
		EXPECT_FALSE(child_is_done(&child, 100));
		EXPECT_FALSE(child_is_done(&holder, 0));
		child_kill(&holder);
		waitpid(child.pid, &status, 0);
		close(child.done);
		return status;
	}
	waitpid(child.pid, &status, 0);
	start = now() - start;
	/* Else it proves nothing. */
	EXPECT_FALSE(child_is_done(&holder, 0));
	EXPECT_GT(PROMPT, start) {
		TH_LOG("it ended after %.3f s", start / 1e9);
	}
	child_kill(&holder);
	close(child.done);
	return status;
}

TEST_F_TIMEOUT(vgem, attach_is_killed, 120)
{
	uint32_t handle, id;
	int status;

	ASSERT_EQ(0, dumb_create(self->fd, self->large / self->page, &handle));
	status = attach_until(_metadata, self->fd, handle, self->large, SIGKILL, 0);
	EXPECT_TRUE(WIFSIGNALED(status));
	/* It attached nothing. */
	EXPECT_EQ(0, vgem_attach(self->fd, handle, WRITE, &id));
	EXPECT_EQ(0, vgem_signal(self->fd, id));
}

TEST_F_TIMEOUT(vgem, attach_is_interrupted, 120)
{
	uint32_t handle, id;
	int status;

	ASSERT_EQ(0, dumb_create(self->fd, self->large / self->page, &handle));
	status = attach_until(_metadata, self->fd, handle, self->large, SIGUSR1, 0);
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(EINTR, WEXITSTATUS(status));
	EXPECT_EQ(0, vgem_attach(self->fd, handle, WRITE, &id));
	EXPECT_EQ(0, vgem_signal(self->fd, id));
}

TEST_F_TIMEOUT(vgem, attach_is_restarted, 120)
{
	uint32_t handle;
	int status;

	ASSERT_EQ(0, dumb_create(self->fd, self->large / self->page, &handle));
	status = attach_until(_metadata, self->fd, handle, self->large, SIGUSR1, SA_RESTART);
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_EQ(-EBUSY, vgem_attach(self->fd, handle, WRITE, NULL));
}

TEST_HARNESS_MAIN
