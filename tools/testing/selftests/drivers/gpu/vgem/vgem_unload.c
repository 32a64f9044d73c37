// SPDX-License-Identifier: GPL-2.0
/*
 * Unloading VGEM's module. With a driver whose fences need the module, the second test
 * crashes the kernel. It is skipped there, unless VGEM_CRASH is in the environment.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* Returns whether a fence that is freed calls the module, or that can't be found out. */
static bool fences_need_module(void)
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	bool needed = !symbols;
	char line[1024];

	while (!needed && fgets(line, sizeof(line), symbols))
		needed = strstr(line, " vgem_fence_release") && strstr(line, "[vgem]");
	if (symbols)
		fclose(symbols);
	return needed;
}

FIXTURE(vgem_module) {
	int fd;
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
}

FIXTURE_TEARDOWN_PARENT(vgem_module)
{
	if (!loaded() && !geteuid())
		EXPECT_EQ(0, system("modprobe vgem"));
}

struct buffer {
	uint32_t handle, id;
	int dmabuf, sync_file;
};

/* Makes a buffer with a fence, and a sync_file of that. */
static int buffer_with_fence(int fd, struct buffer *buffer)
{
	if (dumb_create(fd, 1, &buffer->handle))
		return -1;
	buffer->dmabuf = prime_export(fd, buffer->handle);
	if (vgem_attach(fd, buffer->handle, VGEM_FENCE_WRITE, &buffer->id))
		return -1;
	buffer->sync_file = export_sync_file(buffer->dmabuf, DMA_BUF_SYNC_RW);
	return buffer->sync_file < 0 ? -1 : 0;
}

/* Clients and buffers keep the module. */
TEST_F(vgem_module, busy)
{
	uint32_t handle;
	int dmabuf;

	ASSERT_EQ(0, dumb_create(self->fd, 1, &handle));
	EXPECT_EQ(-EAGAIN, unload());
	dmabuf = prime_export(self->fd, handle);
	ASSERT_LE(0, dmabuf);
	close(self->fd);
	EXPECT_EQ(-EAGAIN, unload());
	close(dmabuf);
	EXPECT_EQ(0, unload());
	EXPECT_FALSE(loaded());
}

/*
 * A sync_file does not, so it can be there when the module is not: here one whose fence
 * has expired before, one whose fence was signaled by the client, and one whose fence was
 * signaled as the client went, both of which would have expired later.
 */
TEST_F_TIMEOUT(vgem_module, sync_files_stay, 60)
{
	struct buffer expired, signaled, closed;
	int64_t start = now();

	if (fences_need_module() && !getenv("VGEM_CRASH"))
		SKIP(return, "fences call this driver's module when freed: would crash the kernel");

	ASSERT_EQ(0, buffer_with_fence(self->fd, &expired));
	sleep_until(start + 4 * NSEC_PER_SEC);
	ASSERT_EQ(0, buffer_with_fence(self->fd, &signaled));
	ASSERT_EQ(0, buffer_with_fence(self->fd, &closed));
	EXPECT_EQ(POLLIN, poll_fd(expired.sync_file, POLLIN, 15000));
	EXPECT_EQ(-ETIMEDOUT, vgem_signal(self->fd, expired.id));
	EXPECT_EQ(0, vgem_signal(self->fd, signaled.id));

	close(self->fd);
	close(expired.dmabuf);
	close(signaled.dmabuf);
	close(closed.dmabuf);
	ASSERT_EQ(0, unload());

	EXPECT_EQ(1, sync_file_status(expired.sync_file));
	EXPECT_EQ(1, sync_file_status(signaled.sync_file));
	EXPECT_EQ(1, sync_file_status(closed.sync_file));
	EXPECT_EQ(0, close(expired.sync_file));

	/* The time of the others comes. */
	ASSERT_GT(start + 4 * NSEC_PER_SEC + VGEM_TIMEOUT, now());
	sleep_until(start + 5 * NSEC_PER_SEC + VGEM_TIMEOUT);
	EXPECT_EQ(1, sync_file_status(signaled.sync_file));
	EXPECT_EQ(1, sync_file_status(closed.sync_file));
	EXPECT_EQ(0, close(signaled.sync_file));
	EXPECT_EQ(0, close(closed.sync_file));
	/* What is left of them goes after a grace period. */
	sleep(1);
}

TEST_HARNESS_MAIN
