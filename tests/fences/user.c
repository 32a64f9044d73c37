// SPDX-License-Identifier: GPL-2.0
/*
 * Tests DMA fences in Rust from outside of their module, /dev/fences (fences.rs).
 *
 * user outlive: fences, and callbacks that were leaked, outlive the module, which this
 * unloads.
 * user deadlock fence|timer|once|resv: lockdep sees a wait that might never end, for a fence,
 * the callback of a timer, the initializer of a SetOnce, or a reservation lock. It says so in
 * the log, once and for all.
 * user race: two threads do what they must not, for KCSAN to see that in Rust.
 * user stale: memory that nothing was written to is used, and gets here, for KMSAN to see.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/sync_file.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPORT _IO('f', 1)
#define DEADLOCK _IO('f', 2)
#define LEAK _IO('f', 3)
#define RACE _IO('f', 4)
#define STALE _IO('f', 5)

/* The UAPI of drivers/dma-buf/sw_sync.c, which has no header. */
struct sw_sync_create_fence_data {
	unsigned int value;
	char name[32];
	int fence;
};
#define SW_SYNC_IOC_CREATE_FENCE _IOWR('W', 0, struct sw_sync_create_fence_data)
#define SW_SYNC_IOC_INC _IOW('W', 1, unsigned int)

static int failures;

#define CHECK(condition, ...)							\
	do {									\
		if (!(condition)) {						\
			failures++;						\
			printf("not ok: %s: ", #condition);			\
			printf(__VA_ARGS__);					\
			printf(": %s\n", strerror(errno));			\
		}								\
	} while (0)

static const struct {
	const char *name;
	/* Before the module is unloaded, and after. */
	int before, after;
} fates[] = {
	{ "signalled before", -ENODATA, -ENODATA },
	{ "signalled at unload", 0, -ENODEV },
	{ "never signalled", 0, 0 },
};

static void look(int fd, const char *name, int status)
{
	struct sync_fence_info fence = {};
	struct sync_file_info info = { .num_fences = 1, .sync_fence_info = (unsigned long)&fence };
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	CHECK(poll(&poll_fd, 1, 100) == !!status, "%s", name);
	CHECK(!ioctl(fd, SYNC_IOC_FILE_INFO, &info), "%s", name);
	CHECK(info.status == status && fence.status == status, "%s: %d, not %d", name,
	      info.status, status);
	if (!status)
		CHECK(!strcmp(fence.driver_name, "fences") && !strcmp(fence.obj_name, "outlive"),
		      "%s: named %s, %s", name, fence.driver_name, fence.obj_name);
}

/* A process that exits while it has the device open. */
static void look_at_exit(void)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0, "fork");
	if (!pid)
		_exit(open("/dev/fences", O_RDWR) < 0);
	CHECK(wait(&status) == pid && !status, "exit");
}

static void outlive(int device)
{
	struct sw_sync_create_fence_data other = { .value = 1, .name = "outlive" };
	int timeline = open("/sys/kernel/debug/sync/sw_sync", O_RDWR);
	struct pollfd poll_fd = { .events = POLLIN };
	struct sw_sync_create_fence_data early = { .value = 1, .name = "early" };
	unsigned int one = 1;
	int fds[3];

	/* The module is unloaded while a work item runs, and before another one would. */
	CHECK(!ioctl(timeline, SW_SYNC_IOC_CREATE_FENCE, &early), "fence of sw_sync");
	other.value = 2;
	CHECK(!ioctl(timeline, SW_SYNC_IOC_CREATE_FENCE, &other), "fence of sw_sync");
	CHECK(!ioctl(device, LEAK, early.fence), "leak callbacks");
	CHECK(!ioctl(device, LEAK, other.fence), "leak callbacks");

	for (int i = 0; i < 3; i++) {
		fds[i] = ioctl(device, EXPORT, i);
		CHECK(fds[i] >= 0, "%s", fates[i].name);
		look(fds[i], fates[i].name, fates[i].before);
	}

	look_at_exit();
	close(device);
	CHECK(!ioctl(timeline, SW_SYNC_IOC_INC, &one), "signal a fence with leaked callbacks");
	CHECK(!syscall(SYS_delete_module, "fences", 0), "unload");

	for (int i = 0; i < 3; i++)
		look(fds[i], fates[i].name, fates[i].after);
	CHECK(!ioctl(timeline, SW_SYNC_IOC_INC, &one), "signal the fence with leaked callbacks");
	poll_fd.fd = other.fence;
	CHECK(poll(&poll_fd, 1, 100) == 1, "the fence with leaked callbacks");
	/* Time for whatever comes late to hit what was the module. */
	sleep(1);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	sleep(1);

	printf("%-28s 3 fences, 6 callbacks; not its timer\n", "outlive the module");
}

/* Whether lockdep has had no complaint so far. */
static int lockdep_is_silent(void)
{
	FILE *file = fopen("/proc/lockdep_stats", "r");
	char line[128];
	int value = -1;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " debug_locks: %d", &value) == 1)
			break;
	CHECK(file && value >= 0, "/proc/lockdep_stats");
	if (file)
		fclose(file);

	return value == 1;
}

static void deadlock(int device, const char *what)
{
	static const char *const all[] = { "fence", "timer", "once", "resv" };
	unsigned long i;

	for (i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (!strcmp(all[i], what))
			break;

	CHECK(lockdep_is_silent(), "%s: before", what);
	CHECK(!ioctl(device, DEADLOCK, 2 * i), "%s: take the lock", what);
	CHECK(lockdep_is_silent(), "%s: after the lock was taken", what);
	CHECK(!ioctl(device, DEADLOCK, 2 * i + 1), "%s: wait", what);
	CHECK(!lockdep_is_silent(), "%s: after the wait with the lock", what);

	printf("%-28s 2 lock orders: %s\n", "deadlock", what);
}

/* Who looks for it has the log. */
static void race(int device)
{
	pid_t pid = fork();

	CHECK(pid >= 0 && !ioctl(device, RACE), "race");
	if (!pid)
		_exit(failures);
	CHECK(wait(NULL) == pid, "wait");
}

/* The same. */
static void stale(int device)
{
	unsigned int number;

	CHECK(!ioctl(device, STALE, &number), "stale");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int device = open("/dev/fences", O_RDWR);

	setvbuf(stdout, NULL, _IONBF, 0);
	if (device < 0) {
		perror("/dev/fences");
		return 1;
	}

	if (!strcmp(what, "outlive"))
		outlive(device);
	else if (!strcmp(what, "deadlock"))
		deadlock(device, argc > 2 ? argv[2] : "fence");
	else if (!strcmp(what, "race"))
		race(device);
	else if (!strcmp(what, "stale"))
		stale(device);
	else
		CHECK(0, "user outlive|deadlock [fence|timer|once|resv]|race|stale");

	return !!failures;
}
