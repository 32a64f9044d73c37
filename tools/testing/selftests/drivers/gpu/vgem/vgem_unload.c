// SPDX-License-Identifier: GPL-2.0
/*
 * Unloading VGEM's module. A driver that is not careful crashes the kernel here, so
 * nothing that matters should come after it.
 */

#include <stdlib.h>
#include <sys/syscall.h>

#include "kselftest_harness.h"
#include "vgem_common.h"

/* Returns 0, or -errno: -EAGAIN if it is in use. */
static int unload(void)
{
	return syscall(SYS_delete_module, "vgem", O_NONBLOCK) ? -errno : 0;
}

static bool loaded(void)
{
	return !access("/sys/module/vgem/initstate", F_OK);
}

FIXTURE(vgem_module) {
	int fd;
	uint32_t handle, id;
	int dmabuf, sync_file;
};

FIXTURE_SETUP(vgem_module)
{
	if (geteuid())
		SKIP(return, "only root can unload modules");
	/* A test before this one may have ended without it. */
	if (!loaded() && system("modprobe vgem"))
		SKIP(return, "can't load vgem");
	self->fd = vgem_open();
	if (self->fd < 0)
		SKIP(return, "no VGEM device");
	if (!loaded())
		SKIP(return, "vgem is not a module");
	ASSERT_EQ(0, dumb_create(self->fd, 1, &self->handle));
	self->dmabuf = prime_export(self->fd, self->handle);
	ASSERT_LE(0, self->dmabuf);
	ASSERT_EQ(0, vgem_attach(self->fd, self->handle, VGEM_FENCE_WRITE, &self->id));
	self->sync_file = export_sync_file(self->dmabuf, DMA_BUF_SYNC_RW);
	ASSERT_LE(0, self->sync_file);
}

FIXTURE_TEARDOWN_PARENT(vgem_module)
{
	if (!loaded() && !geteuid())
		EXPECT_EQ(0, system("modprobe vgem"));
}

/* Clients and buffers keep the module. */
TEST_F(vgem_module, busy)
{
	EXPECT_EQ(-EAGAIN, unload());
	close(self->dmabuf);
	EXPECT_EQ(-EAGAIN, unload());
	EXPECT_EQ(0, vgem_signal(self->fd, self->id));
	close(self->sync_file);

	self->dmabuf = prime_export(self->fd, self->handle);
	ASSERT_LE(0, self->dmabuf);
	close(self->fd);
	EXPECT_EQ(-EAGAIN, unload());
	close(self->dmabuf);
	EXPECT_EQ(0, unload());
	EXPECT_FALSE(loaded());
}

/* A sync_file does not; it only has to be told the truth when there is no module any more. */
TEST_F_TIMEOUT(vgem_module, sync_file_stays_after_timeout, 60)
{
	EXPECT_EQ(POLLIN, poll_fd(self->sync_file, POLLIN, 15000));
	EXPECT_EQ(-ETIMEDOUT, vgem_signal(self->fd, self->id));
	close(self->fd);
	close(self->dmabuf);
	ASSERT_EQ(0, unload());
	EXPECT_EQ(1, sync_file_status(self->sync_file));
	EXPECT_EQ(0, close(self->sync_file));
	/* What is left of it goes after a grace period. */
	sleep(1);
}

TEST_F_TIMEOUT(vgem_module, sync_file_stays_before_timeout, 60)
{
	struct sync_fence_info info = {};

	close(self->fd);
	close(self->dmabuf);
	ASSERT_EQ(0, unload());
	EXPECT_EQ(1, sync_file_status(self->sync_file));
	/* The time of its fence comes. */
	sleep(12);
	EXPECT_EQ(1, sync_file_fences(self->sync_file, &info, 1));
	EXPECT_EQ(1, info.status);
	EXPECT_EQ(0, close(self->sync_file));
	sleep(1);
}

TEST_HARNESS_MAIN
