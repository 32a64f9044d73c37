/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs that measure VGEM share: its calls, each of which works or ends
 * the program.
 */

#include <drm/drm_mode.h>
#include <drm/vgem_drm.h>
#include <linux/dma-buf.h>

#include "measure.h"

/* No more live fences on a buffer than this, as each is looked at by the next. */
#define PER_BUFFER 64

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
