/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs that measure drivers share: the device, and the clock.
 */

#include <drm/drm.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "mark.h"

static char node[32];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static inline uint64_t nanoseconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* The time, and what bench/plugin.c is to count from now on. */
#define now(what) ({ MARK(what); nanoseconds(CLOCK_MONOTONIC); })

/*
 * The same, once others have ended what they had left to do, such as to free memory, and
 * always as long after the last tick of the kernel: what is measured then meets as many
 * interrupts each time.
 */
static inline void settle(void)
{
	const uint64_t step = 32000000, after_tick = 1000000;
	uint64_t then = (nanoseconds(CLOCK_MONOTONIC) / step + 2) * step + after_tick;
	struct timespec t = { .tv_sec = then / 1000000000, .tv_nsec = then % 1000000000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

#define begin(what) ({ settle(); now(what); })

/* What one of this many calls took, which were measured so often. */
static void print(const char *row, unsigned long x, int64_t total, unsigned long calls, int runs)
{
	MARK(MARK_ROW);
	printf("%s\t%lu\t%.1f\t%lu\n", row, x, (double)total / calls, calls * runs);
	fflush(stdout);
}

static int open_device(void)
{
	int fd = open(node, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail(node);
	return fd;
}

static void find_device(const char *driver)
{
	for (int i = 0; i < 16; i++) {
		char name[16] = "";
		struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };
		int fd;

		snprintf(node, sizeof(node), "/dev/dri/card%d", i);
		fd = open(node, O_RDWR);
		if (fd < 0)
			continue;
		if (!ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, driver)) {
			close(fd);
			return;
		}
		close(fd);
	}
	fprintf(stderr, "there is no device of %s\n", driver);
	exit(1);
}
