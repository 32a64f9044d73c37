/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs that measure VGEM share: its calls, each of which works or ends
 * the program, and the clock.
 */

#include <drm/drm.h>
#include <drm/drm_mode.h>
#include <drm/vgem_drm.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "mark.h"

/* No more live fences on a buffer than this, as each is looked at by the next. */
#define PER_BUFFER 64

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

static int open_vgem(void)
{
	int fd = open(node, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail(node);
	return fd;
}

static void find_vgem(void)
{
	for (int i = 0; i < 16; i++) {
		char name[16] = "";
		struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };
		int fd;

		snprintf(node, sizeof(node), "/dev/dri/card%d", i);
		fd = open(node, O_RDWR);
		if (fd < 0)
			continue;
		if (!ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, "vgem")) {
			close(fd);
			return;
		}
		close(fd);
	}
	fprintf(stderr, "there is no VGEM\n");
	exit(1);
}

static uint32_t create(int fd, uint32_t pages)
{
	struct drm_mode_create_dumb arg = { .width = 1024, .height = pages, .bpp = 32 };

	if (ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &arg))
		fail("CREATE_DUMB");
	return arg.handle;
}

static void destroy(int fd, uint32_t handle)
{
	struct drm_mode_destroy_dumb arg = { .handle = handle };

	if (ioctl(fd, DRM_IOCTL_MODE_DESTROY_DUMB, &arg))
		fail("DESTROY_DUMB");
}

static uint32_t attach(int fd, uint32_t handle)
{
	struct drm_vgem_fence_attach arg = { .handle = handle };

	if (ioctl(fd, DRM_IOCTL_VGEM_FENCE_ATTACH, &arg))
		fail("FENCE_ATTACH");
	return arg.out_fence;
}

static void sig(int fd, uint32_t fence)
{
	struct drm_vgem_fence_signal arg = { .fence = fence };

	/* The time of a fence may be up in a row that takes long. */
	if (ioctl(fd, DRM_IOCTL_VGEM_FENCE_SIGNAL, &arg) && errno != ETIMEDOUT)
		fail("FENCE_SIGNAL");
}

static int prime_export(int fd, uint32_t handle)
{
	struct drm_prime_handle arg = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR };

	if (ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &arg))
		fail("PRIME_HANDLE_TO_FD");
	return arg.fd;
}
