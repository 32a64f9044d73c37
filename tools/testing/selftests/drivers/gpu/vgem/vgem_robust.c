// SPDX-License-Identifier: GPL-2.0
/* What VGEM should bear: races, many fences, no memory. */

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "kselftest_harness.h"
#include "vgem_common.h"

#define WRITE	VGEM_FENCE_WRITE

#define TRACING "/sys/kernel/tracing/"

/* An instance for these tests: of what they trace, only stack traces are elsewhere. */
#define INSTANCE TRACING "instances/vgem/"
#define SLOW_LOCKS TRACING "events/lock/lock_acquire/trigger"

/* A client with one buffer. */
FIXTURE(vgem) {
	int fd;
	uint32_t handle;
	int dmabuf;
};

FIXTURE_SETUP(vgem)
{
	self->fd = vgem_open();
	if (self->fd < 0)
		SKIP(return, "no VGEM device, or no right to open it");
	ASSERT_EQ(0, dumb_create(self->fd, 1, &self->handle));
	self->dmabuf = prime_export(self->fd, self->handle);
	ASSERT_LE(0, self->dmabuf);
}

FIXTURE_TEARDOWN(vgem)
{
	write_file(SLOW_LOCKS, "!stacktrace");
	rmdir(INSTANCE);
	close(self->dmabuf);
	close(self->fd);
}

/* How often something is done, if the environment does not say otherwise. */
static long count(const char *name, long otherwise)
{
	const char *value = getenv(name);

	return value ? atol(value) : otherwise;
}

/* Conflicts */

struct racer {
	int fd;
	uint32_t handle, flags;
	uint32_t id;
	int ret;
};

static struct race {
	struct racer racers[2];
	atomic_long round, done;
} race;

static void race_attach(struct racer *racer)
{
	racer->ret = vgem_attach(racer->fd, racer->handle, racer->flags, &racer->id);
}

static void *race_second(void *arg)
{
	long round, last = 0;

	for (;;) {
		do {
			round = atomic_load(&race.round);
		} while (round == last);
		if (round < 0)
			break;
		last = round;
		race_attach(&race.racers[1]);
		atomic_store(&race.done, round);
	}
	return NULL;
}

FIXTURE(vgem_race) {
	int dmabuf;
};

FIXTURE_VARIANT(vgem_race) {
	uint32_t flags[2];
};

FIXTURE_VARIANT_ADD(vgem_race, two_writers) { .flags = { WRITE, WRITE } };
FIXTURE_VARIANT_ADD(vgem_race, reader_and_writer) { .flags = { 0, WRITE } };

FIXTURE_SETUP(vgem_race)
{
	int i;

	for (i = 0; i < 2; i++) {
		race.racers[i].flags = variant->flags[i];
		race.racers[i].fd = vgem_open();
		if (race.racers[i].fd < 0)
			SKIP(return, "no VGEM device, or no right to open it");
	}
	ASSERT_EQ(0, dumb_create(race.racers[0].fd, 1, &race.racers[0].handle));
	self->dmabuf = prime_export(race.racers[0].fd, race.racers[0].handle);
	ASSERT_LE(0, self->dmabuf);
	ASSERT_EQ(0, prime_import(race.racers[1].fd, self->dmabuf, &race.racers[1].handle));
}

FIXTURE_TEARDOWN(vgem_race)
{
	close(race.racers[0].fd);
	close(race.racers[1].fd);
	close(self->dmabuf);
}

/*
 * Of two that are in each other's way, one gets in, always. On a machine that is slow
 * there are as many rounds as it can do in this time.
 */
#define RACE_TIME	(6 * NSEC_PER_SEC)

TEST_F_TIMEOUT(vgem_race, one_attaches, 1200)
{
	long round, rounds = count("VGEM_ROUNDS", 20000);
	long both = 0, none = 0, other = 0, first = 0;
	int64_t end = now() + RACE_TIME * (rounds / 20000 ?: 1);
	pthread_t thread;
	int i;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "there is only one CPU");
	ASSERT_EQ(0, pthread_create(&thread, NULL, race_second, NULL));
	for (round = 1; round <= rounds && now() < end; round++) {
		atomic_store(&race.round, round);
		/* The other one needs a while to see it. */
		for (i = round % 64; i > 0; i--)
			atomic_load(&race.done);
		race_attach(&race.racers[0]);
		while (atomic_load(&race.done) != round)
			;
		both += !race.racers[0].ret && !race.racers[1].ret;
		none += race.racers[0].ret && race.racers[1].ret;
		first += !race.racers[0].ret;
		for (i = 0; i < 2; i++) {
			if (race.racers[i].ret)
				other += race.racers[i].ret != -EBUSY;
			else
				ASSERT_EQ(0, vgem_signal(race.racers[i].fd, race.racers[i].id));
		}
	}
	atomic_store(&race.round, -1);
	pthread_join(thread, NULL);
	TH_LOG("of %ld rounds, both attached in %ld, none in %ld, the first in %ld",
	       round - 1, both, none, first);
	EXPECT_LT(100, round);
	EXPECT_EQ(0, both);
	EXPECT_EQ(0, none);
	EXPECT_EQ(0, other);
}

/* Many fences */

/*
 * What the kernel has allocated in bytes, once what waits for a grace period has been freed:
 * with what counts as reclaimable, as the nodes of radix trees and XArrays do.
 */
static long kernel_memory(long below, int tries)
{
	long least = LONG_MAX, value;

	while (tries-- && least >= below) {
		usleep(100000);
		value = read_number("/proc/meminfo", "Slab:") * 1024;
		if (value < least)
			least = value;
	}
	return least;
}

/* Fences that were signaled leave nothing, and their IDs stay invalid for long. */
TEST_F_TIMEOUT(vgem, nothing_is_kept, 1200)
{
	long i, before, after, pairs = count("VGEM_PAIRS", 100000);
	uint32_t live, first = 0, id;
	int64_t start;

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &live));
	for (i = 0; i < 2000; i++) {
		ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &id));
		ASSERT_EQ(0, vgem_signal(self->fd, id));
		if (!first)
			first = id;
	}
	before = kernel_memory(0, 10);
	start = now();
	for (i = 0; i < pairs; i++) {
		ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &id));
		ASSERT_NE(live, id);
		ASSERT_NE(first, id);
		ASSERT_EQ(0, vgem_signal(self->fd, id));
	}
	start = now() - start;
	/* Others allocate and free meanwhile. */
	after = kernel_memory(before + 2 * pairs, 30);
	TH_LOG("%ld pairs in %.1f s, %.1f bytes kept for each", pairs, start / 1e9,
	       (double)(after - before) / pairs);
	EXPECT_GT(2 * pairs, after - before);
	EXPECT_EQ(-ENOENT, vgem_signal(self->fd, first));
}

/* These are of sw_sync, as they do not expire. */
#define SW_SYNC "/sys/kernel/debug/sync/sw_sync"

struct sw_sync_create_fence_data {
	uint32_t value;
	char name[32];
	int32_t fence;
};

#define SW_SYNC_IOC_CREATE_FENCE _IOWR('W', 0, struct sw_sync_create_fence_data)

/* Returns a sync_file of both, which are closed, or -errno. */
static int merge(int one, int two)
{
	struct sync_merge_data arg = { .fd2 = two };
	int ret = do_ioctl(one, SYNC_IOC_MERGE, &arg);

	close(one);
	close(two);
	return ret ?: arg.fence;
}

/* More fences than there is memory in one piece for is no reason for the kernel to warn. */
TEST_F_TIMEOUT(vgem, too_many_fences, 900)
{
	/* 80 bytes for each are more than kmalloc() has. */
	enum { FENCES = 56000, BITS = 20 };
	struct sw_sync_create_fence_data create = { .value = 1 };
	struct rlimit limit = { 2 * FENCES, 2 * FENCES };
	static struct sync_fence_info info[FENCES];
	int sums[BITS], i, bit, sum = -1;
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	for (bit = 0; bit < BITS; bit++)
		sums[bit] = -1;
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	if (kmsg < 0 || access(SW_SYNC, R_OK | W_OK) || setrlimit(RLIMIT_NOFILE, &limit))
		SKIP(return, "needs root, and a kernel with SW_SYNC");
	lseek(kmsg, 0, SEEK_END);
	for (i = 0; i < FENCES; i++) {
		/* Each has a timeline, as of one timeline's the last one stands for all. */
		int timeline = open(SW_SYNC, O_RDWR | O_CLOEXEC);

		ASSERT_LE(0, timeline);
		ASSERT_EQ(0, do_ioctl(timeline, SW_SYNC_IOC_CREATE_FENCE, &create));
		sum = create.fence;
		for (bit = 0; sums[bit] >= 0; bit++) {
			sum = merge(sums[bit], sum);
			ASSERT_LE(0, sum);
			sums[bit] = -1;
		}
		sums[bit] = sum;
	}
	for (bit = 0, sum = -1; bit < BITS; bit++) {
		if (sums[bit] < 0)
			continue;
		sum = sum < 0 ? sums[bit] : merge(sums[bit], sum);
		ASSERT_LE(0, sum);
	}
	EXPECT_EQ(FENCES, sync_file_fences(sum, NULL, 0));
	i = sync_file_fences(sum, info, FENCES);
	EXPECT_TRUE(i == FENCES || i == -ENOMEM) {
		TH_LOG("%d", i);
	}
	EXPECT_EQ(0, warnings(kmsg));
	close(kmsg);
}

/* No memory */

FIXTURE(vgem_no_memory) {
	int fd, dmabuf;
	uint32_t handle;
};

FIXTURE_SETUP(vgem_no_memory)
{
	self->fd = vgem_open();
	if (self->fd < 0)
		SKIP(return, "no VGEM device, or no right to open it");
	ASSERT_EQ(0, dumb_create(self->fd, 1, &self->handle));
	self->dmabuf = prime_export(self->fd, self->handle);
	ASSERT_LE(0, self->dmabuf);
	/* The last one, as what fails here leaves nothing to tear down. */
	if (!fail_begins())
		SKIP(return, NO_FAILSLAB);
}

FIXTURE_TEARDOWN(vgem_no_memory)
{
	fail_ends();
	close(self->dmabuf);
	close(self->fd);
}

/* A buffer is busy, whether there is memory or not. */
TEST_F(vgem_no_memory, busy_comes_first)
{
	uint32_t live, id;
	int ret, n;

	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &live));
	for (n = 1; n <= 8; n++) {
		fail_nth(n);
		ret = vgem_attach(self->fd, self->handle, WRITE, &id);
		failed_nth();
		EXPECT_EQ(-EBUSY, ret) {
			TH_LOG("with allocation %d failing", n);
		}
		EXPECT_EQ(VGEM_UNTOUCHED, id);
	}
	EXPECT_EQ(0, vgem_signal(self->fd, live));
}

/* Without memory there is no fence, and nobody waits for one. */
TEST_F(vgem_no_memory, attach)
{
	uint32_t handle, id;
	int dmabuf, n, ret;
	bool failed;

	for (n = 1, failed = true; failed; n++) {
		ASSERT_EQ(0, dumb_create(self->fd, 1, &handle));
		dmabuf = prime_export(self->fd, handle);
		ASSERT_LE(0, dmabuf);
		fail_nth(n);
		ret = vgem_attach(self->fd, handle, WRITE, &id);
		failed = failed_nth();
		if (ret) {
			EXPECT_TRUE(failed);
			EXPECT_EQ(-ENOMEM, ret);
			EXPECT_EQ(VGEM_UNTOUCHED, id);
			EXPECT_TRUE(writable(dmabuf));
			ASSERT_EQ(0, vgem_attach(self->fd, handle, WRITE, &id));
		}
		EXPECT_FALSE(readable(dmabuf));
		EXPECT_EQ(0, vgem_signal(self->fd, id));
		EXPECT_TRUE(writable(dmabuf));
		close(dmabuf);
		gem_close(self->fd, handle);
	}
	TH_LOG("%d allocations", n - 2);
	EXPECT_LT(2, n);
}

/* No error keeps a client from signaling. */
TEST_F(vgem_no_memory, signal)
{
	enum { ROUNDS = 8 };
	int i, failed = 0;
	uint32_t id;

	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, vgem_attach(self->fd, self->handle, WRITE, &id));
		fail_nth(1);
		EXPECT_EQ(0, vgem_signal(self->fd, id));
		failed += failed_nth();
	}
	/* SIGNAL allocates nothing. The allocator may when it frees, once in many times. */
	EXPECT_GT(ROUNDS / 2, failed);
}

TEST_F(vgem_no_memory, open)
{
	char path[64], link[64] = "";
	int n, fd, error;
	bool failed;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	ASSERT_LT(0, readlink(path, link, sizeof(link) - 1));
	for (n = 1, failed = true; failed; n++) {
		fail_nth(n);
		fd = open(link, O_RDWR | O_CLOEXEC);
		error = errno;
		failed = failed_nth();
		if (fd < 0) {
			EXPECT_TRUE(failed);
			EXPECT_EQ(ENOMEM, error);
		}
		close(fd);
	}
	TH_LOG("%d allocations", n - 2);
	EXPECT_LT(2, n);
}

TEST_F(vgem_no_memory, buffers)
{
	int other = vgem_open();
	int n, dmabuf, ret;
	uint32_t handle;
	bool failed;

	ASSERT_LE(0, other);
	for (n = 1, failed = true; failed; n++) {
		fail_nth(n);
		ret = dumb_create(self->fd, 1, &handle);
		failed = failed_nth();
		if (!ret) {
			EXPECT_EQ(0, gem_close(self->fd, handle));
		} else {
			EXPECT_TRUE(failed);
			EXPECT_TRUE(ret == -ENOMEM || ret == -ENOSPC);
		}
	}
	EXPECT_LT(2, n);
	for (n = 1, failed = true; failed; n++) {
		ASSERT_EQ(0, dumb_create(self->fd, 1, &handle));
		fail_nth(n);
		dmabuf = prime_export(self->fd, handle);
		failed = failed_nth();
		if (dmabuf < 0) {
			EXPECT_TRUE(failed);
			EXPECT_TRUE(dmabuf == -ENOMEM || dmabuf == -ENFILE);
		}
		close(dmabuf);
		EXPECT_EQ(0, gem_close(self->fd, handle));
	}
	EXPECT_LT(2, n);
	for (n = 1, failed = true; failed; n++) {
		fail_nth(n);
		ret = prime_import(other, self->dmabuf, &handle);
		failed = failed_nth();
		if (!ret) {
			EXPECT_EQ(0, gem_close(other, handle));
		} else {
			EXPECT_TRUE(failed);
			EXPECT_EQ(-ENOMEM, ret);
		}
	}
	EXPECT_LT(2, n);
	close(other);
}

/* Timers */

/* Returns whether there is an INSTANCE, which is removed in the end. */
static bool trace_begins(void)
{
	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	/* A test that was killed may have left it. */
	rmdir(INSTANCE);
	return !mkdir(INSTANCE, 0700);
}

static const char *const timer_events[] = {
	INSTANCE "events/timer/timer_start/enable",
	INSTANCE "events/timer/timer_cancel/enable",
	INSTANCE "events/timer/hrtimer_start/enable",
	INSTANCE "events/timer/hrtimer_cancel/enable",
};

/* Signaling a fence stops its timer, even if somebody still has the fence. */
TEST_F(vgem, signal_stops_timer)
{
	enum { FENCES = 100 };
	int started = 0, stopped = 0;
	uint32_t ids[FENCES];
	char line[512], pid[16];
	char timers[2 * FENCES][32];
	FILE *trace;
	size_t i;
	int sync_file;

	if (!trace_begins() || access(timer_events[0], W_OK))
		SKIP(return, "needs root, and a kernel with tracing");
	snprintf(pid, sizeof(pid), "%d", getpid());
	ASSERT_EQ(0, write_file(INSTANCE "set_event_pid", pid));
	for (i = 0; i < ARRAY_SIZE(timer_events); i++)
		ASSERT_EQ(0, write_file(timer_events[i], "1"));

	for (i = 0; i < FENCES; i++)
		ASSERT_EQ(0, vgem_attach(self->fd, self->handle, 0, &ids[i]));
	sync_file = export_sync_file(self->dmabuf, DMA_BUF_SYNC_WRITE);
	ASSERT_LE(0, sync_file);
	for (i = 0; i < FENCES; i++)
		ASSERT_EQ(0, vgem_signal(self->fd, ids[i]));

	for (i = 0; i < ARRAY_SIZE(timer_events); i++)
		write_file(timer_events[i], "0");

	trace = fopen(INSTANCE "trace", "re");
	ASSERT_NE(NULL, trace);
	while (fgets(line, sizeof(line), trace)) {
		char *start = strstr(line, "timer_start: ");
		char *cancel = strstr(line, "timer_cancel: ");
		char *timer = strstr(line, "timer=");
		char *end;

		if (!timer)
			continue;
		end = strchr(timer, ' ') ?: strchr(timer, '\n');
		if (start && strstr(line, "[vgem]") && started < 2 * FENCES)
			snprintf(timers[started++], sizeof(timers[0]), "%.*s",
				 (int)(end - timer), timer);
		if (cancel)
			for (i = 0; i < started; i++)
				if (strlen(timers[i]) == end - timer &&
				    !strncmp(timers[i], timer, end - timer)) {
					timers[i][0] = '\0';
					stopped++;
					break;
				}
	}
	fclose(trace);
	TH_LOG("%d timers were started for %d fences, and %d of them stopped", started, FENCES,
	       stopped);
	/* There has to be one. */
	EXPECT_LT(0, started);
	/* One for all of a client may go on. */
	EXPECT_GE(1, started - stopped);
	close(sync_file);
}

#define FENCE_SIGNALED "events/dma_fence/dma_fence_signaled/"

/*
 * With lockdep, a stack trace makes the time longer that is between a look at a fence and
 * the lock of it, but not when a timer does the same, in an interrupt.
 */
#define IN_INTERRUPT "common_flags & 24"	/* hard (8) or soft (16) */
#define SLOWLY "stacktrace if !(" IN_INTERRUPT ") && " \
	       "(name == \"rcu_read_lock\" || name ~ \"*fence->*lock\")"

/* A fence is attached each 0.1 ms, for that long. */
#define ATTACH_TIME	(8 * NSEC_PER_SEC)
#define ATTACH_APART	(NSEC_PER_MSEC / 10)

static void pin_to_cpu(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
}

/* Timers of a CPU that is idle may expire on another one. */
static void *keep_busy(void *stop)
{
	pin_to_cpu(0);
	while (!atomic_load((atomic_bool *)stop))
		;
	return NULL;
}

static long traced(void)
{
	long i, all = 0;
	char path[80];

	for (i = 0; i < sysconf(_SC_NPROCESSORS_CONF); i++) {
		snprintf(path, sizeof(path), INSTANCE "per_cpu/cpu%ld/stats", i);
		all += read_number(path, "entries: ") + read_number(path, "overrun: ");
	}
	return all;
}

/*
 * Either user space signals a fence or its timer does. That SIGNAL returned 0 for one that
 * had expired is only seen by who counts the latter: the two have to add up. So each fence
 * is signaled as near to its expiry as can be, on another CPU.
 */
TEST_F_TIMEOUT(vgem, expiry_is_told, 180)
{
	enum { MAX = ATTACH_TIME / ATTACH_APART };
	static struct {
		int64_t expires;
		uint32_t id;
	} fences[MAX];
	long in_time = 0, late = 0, other = 0, expired;
	atomic_bool stop = false;
	int count, i, ret;
	int64_t start, wait;
	uint32_t handle = 0;
	pthread_t busy;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "there is only one CPU");
	if (!trace_begins() || access(INSTANCE FENCE_SIGNALED "enable", W_OK))
		SKIP(return, "needs root, and a kernel with tracing");
	ASSERT_EQ(0, write_file(INSTANCE FENCE_SIGNALED "filter", IN_INTERRUPT));
	ASSERT_EQ(0, write_file(INSTANCE FENCE_SIGNALED "enable", "1"));

	pin_to_cpu(0);
	start = now();
	for (count = 0; count < MAX && now() < start + ATTACH_TIME; count++) {
		/* That there are few on each buffer makes it quick. */
		if (count % 64 == 0)
			ASSERT_EQ(0, dumb_create(self->fd, 1, &handle));
		while (now() < start + count * ATTACH_APART)
			;
		ASSERT_EQ(0, vgem_attach(self->fd, handle, 0, &fences[count].id));
		fences[count].expires = now() + VGEM_TIMEOUT;
	}

	pin_to_cpu(1);
	ASSERT_EQ(0, pthread_create(&busy, NULL, keep_busy, &stop));
	write_file(SLOW_LOCKS, SLOWLY);
	/* How late it may be is found by trying: later if in time, and else earlier. */
	for (i = 0, wait = 0; i < count; i++) {
		int64_t time = now() - wait;

		if (i + 1 < count && fences[i + 1].expires <= time)
			continue;
		while (now() < fences[i].expires + wait)
			;
		ret = vgem_signal(self->fd, fences[i].id);
		in_time += !ret;
		late += ret == -ETIMEDOUT;
		other += ret && ret != -ETIMEDOUT;
		wait += ret ? -ATTACH_APART : ATTACH_APART / 5;
		fences[i].id = 0;
	}
	write_file(SLOW_LOCKS, "!stacktrace");
	atomic_store(&stop, true);
	pthread_join(busy, NULL);

	/* Those that there was no time for. */
	sleep_until(fences[count - 1].expires + NSEC_PER_SEC / 2);
	for (i = 0; i < count; i++) {
		if (!fences[i].id)
			continue;
		ret = vgem_signal(self->fd, fences[i].id);
		late += ret == -ETIMEDOUT;
		other += ret != -ETIMEDOUT;
	}
	expired = traced();
	write_file(INSTANCE FENCE_SIGNALED "enable", "0");

	TH_LOG("of %d fences, SIGNAL was in time for %ld, %ld expired, %ld both", count, in_time,
	       expired, in_time + expired - count);
	EXPECT_EQ(0, other);
	EXPECT_EQ(count, in_time + late);
	EXPECT_EQ(count, in_time + expired);
	/* Both were tried. */
	EXPECT_LT(0, in_time);
	EXPECT_LT(0, expired);
}

/* Who pays */

/* A client's fences are charged to it, and so its limit is theirs. */
TEST_F_TIMEOUT(vgem, fences_are_charged, 120)
{
	enum { BUFFERS = 50, READERS = 200, FENCES = BUFFERS * READERS };
	char top[] = "/tmp/vgem-XXXXXX", group[64], path[96], value[32];
	long before, after, high;
	uint32_t handles[2 * BUFFERS];
	int go[2], done[2];
	pid_t pid, ended = 0;
	char c;
	int i;

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(done));
	ASSERT_NE(NULL, mkdtemp(top));
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", top, "cgroup2", 0, NULL)) {
		rmdir(top);
		SKIP(return, "needs root, and cgroup2");
	}
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", top);
	snprintf(group, sizeof(group), "%s/vgem-test", top);
	if (write_file(path, "+memory") || (mkdir(group, 0755) && errno != EEXIST)) {
		umount(top);
		rmdir(top);
		SKIP(return, "cgroup2 has no memory controller");
	}
	for (i = 0; i < 2 * BUFFERS; i++)
		ASSERT_EQ(0, dumb_create(self->fd, 1, &handles[i]));

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", group);
		if (write_file(path, "0"))
			_exit(1);
		/* What comes with the first one is not what is measured. */
		vgem_attach(self->fd, handles[0], 0, NULL);
		(void)!write(done[1], "", 1);
		(void)!read(go[0], &c, 1);
		for (i = 1; i < FENCES; i++)
			if (vgem_attach(self->fd, handles[i / READERS], 0, NULL))
				_exit(1);
		(void)!write(done[1], "", 1);
		(void)!read(go[0], &c, 1);
		/* As many again, if it is not slowed down. */
		for (i = FENCES; i < 2 * FENCES; i++)
			if (vgem_attach(self->fd, handles[i / READERS], 0, NULL))
				_exit(1);
		_exit(0);
	}

	snprintf(path, sizeof(path), "%s/memory.stat", group);
	ASSERT_EQ(1, read(done[0], &c, 1));
	before = read_number(path, "kernel ");
	ASSERT_LE(0, before);
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(1, read(done[0], &c, 1));
	after = read_number(path, "kernel ");

	snprintf(path, sizeof(path), "%s/memory.current", group);
	snprintf(value, sizeof(value), "%ld", read_number(path, "") + FENCES * 32L);
	snprintf(path, sizeof(path), "%s/memory.high", group);
	ASSERT_EQ(0, write_file(path, value));
	ASSERT_EQ(1, write(go[1], "", 1));
	snprintf(path, sizeof(path), "%s/memory.events", group);
	while (!(high = read_number(path, "high ")) && !ended) {
		usleep(1000);
		ended = waitpid(pid, NULL, WNOHANG);
	}
	if (!ended) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}

	TH_LOG("%ld bytes charged for each of %d fences; over the limit %ld times",
	       (after - before) / FENCES, FENCES, high);
	/* A struct dma_fence has 64 bytes at least on 64 bits. */
	EXPECT_LE(FENCES * 64, after - before);
	EXPECT_LT(0, high);

	/* The fences go with the client, and the group with these. */
	close(self->fd);
	self->fd = -1;
	rmdir(group);
	umount(top);
	rmdir(top);
}

TEST_HARNESS_MAIN
