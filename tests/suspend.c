// SPDX-License-Identifier: GPL-2.0
/*
 * In the guest of scripts/suspend: the machine sleeps while a fence of VGEM is pending. Its 10 s
 * are those in which the machine is awake, as for C's timers: who can't signal is not late.
 */

#include "vgem_common.h"

/* When the machine goes to sleep, and how long it sleeps, at most. */
#define BEFORE	(4 * NSEC_PER_SEC)
#define ASLEEP	9

/* A fence may be signalled this late, on a machine that was asleep just now. */
#define LATE	(500 * NSEC_PER_MSEC)

static int64_t awake_or_not(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

int main(int argc, char **argv)
{
	const char *alarm = "/sys/class/rtc/rtc0/wakealarm";
	const char *state = argc > 1 ? argv[1] : "mem";
	int64_t start, slept, expired, after;
	struct sync_fence_info info = {};
	int fd = vgem_open(), dmabuf, sync_file, pending;
	uint32_t handle, id;
	char until[16];
	int ret;

	if (fd < 0 || dumb_create(fd, 1, &handle) || (dmabuf = prime_export(fd, handle)) < 0) {
		printf("no VGEM\n");
		return 1;
	}
	start = now();
	if (vgem_attach(fd, handle, VGEM_FENCE_WRITE, &id) ||
	    (sync_file = export_sync_file(dmabuf, DMA_BUF_SYNC_RW)) < 0) {
		printf("no fence\n");
		return 1;
	}

	sleep_until(start + BEFORE);
	snprintf(until, sizeof(until), "+%d", ASLEEP);
	slept = awake_or_not() - now();
	ret = write_file(alarm, until) ?: write_file("/sys/power/state", state);
	if (ret) {
		printf("no sleep: %s\n", strerror(-ret));
		return 1;
	}
	slept = awake_or_not() - now() - slept;
	pending = !sync_file_status(sync_file) && !readable(dmabuf);
	after = now() - start;

	if (poll_fd(dmabuf, POLLIN, 20000) != POLLIN || sync_file_fences(sync_file, &info, 1) != 1) {
		printf("it never expires\n");
		return 1;
	}
	expired = info.timestamp_ns - start;
	printf("%s: slept %.1f s; awake again, %.1f s after the fence was made, it was %s; it expired after %.3f s awake\n",
	       state, slept / 1e9, after / 1e9, pending ? "pending" : "signalled", expired / 1e9);
	return !(slept > NSEC_PER_SEC && slept + after > VGEM_TIMEOUT && after < VGEM_TIMEOUT && pending &&
		 expired >= VGEM_TIMEOUT && expired <= VGEM_TIMEOUT + LATE &&
		 vgem_signal(fd, id) == -ETIMEDOUT);
}
