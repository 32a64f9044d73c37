/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of VGEM share: its ioctls, those of dma-bufs and of sync_files, and what is
 * in small files of the kernel.
 */
#ifndef VGEM_COMMON_H
#define VGEM_COMMON_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <linux/dma-buf.h>
#include <linux/sync_file.h>

#include <drm/drm.h>
#include <drm/drm_mode.h>
#include <drm/vgem_drm.h>

#define NSEC_PER_SEC	1000000000LL
#define NSEC_PER_MSEC	1000000LL

/* User space has this long to signal a fence. */
#define VGEM_TIMEOUT	(10 * NSEC_PER_SEC)

/* What out_fence is before an ioctl that has to leave it alone. */
#define VGEM_UNTOUCHED	0xdeadbeef

static inline int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static inline void sleep_until(int64_t time)
{
	struct timespec ts = { time / NSEC_PER_SEC, time % NSEC_PER_SEC };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

/* Returns what ioctl() does, or -errno. */
static inline int do_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	do {
		ret = ioctl(fd, request, arg);
	} while (ret < 0 && (errno == EINTR || errno == EAGAIN));

	return ret < 0 ? -errno : ret;
}

static inline bool is_vgem(int fd)
{
	char name[16] = "";
	struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };

	return !do_ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, "vgem");
}

/* Opens a node of VGEM: the first one that there is at @format, from number @first on. */
static inline int open_node(const char *format, int first)
{
	static int number[2] = { -1, -1 };
	int *known = &number[!!first];
	char path[32];
	int fd, i;

	for (i = *known < 0 ? first : *known; i < first + 64; i++) {
		snprintf(path, sizeof(path), format, i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (is_vgem(fd)) {
			*known = i;
			return fd;
		}
		close(fd);
	}

	*known = -1;
	return -ENODEV;
}

static inline int vgem_open(void)
{
	return open_node("/dev/dri/card%d", 0);
}

static inline int vgem_open_render(void)
{
	return open_node("/dev/dri/renderD%d", 128);
}

static inline int vgem_attach(int fd, uint32_t handle, uint32_t flags, uint32_t *id)
{
	struct drm_vgem_fence_attach arg = {
		.handle = handle,
		.flags = flags,
		.out_fence = VGEM_UNTOUCHED,
	};
	int ret = do_ioctl(fd, DRM_IOCTL_VGEM_FENCE_ATTACH, &arg);

	if (id)
		*id = arg.out_fence;
	return ret;
}

static inline int vgem_signal(int fd, uint32_t id)
{
	struct drm_vgem_fence_signal arg = { .fence = id };

	return do_ioctl(fd, DRM_IOCTL_VGEM_FENCE_SIGNAL, &arg);
}

/* Returns a child that signals a fence after 50 ms, and exits with 0 if it could. */
static inline pid_t signal_later(int fd, uint32_t id)
{
	pid_t pid = fork();

	if (!pid) {
		usleep(50000);
		_exit(vgem_signal(fd, id) ? 1 : 0);
	}
	return pid;
}

static inline int dumb_create(int fd, uint32_t pages, uint32_t *handle)
{
	struct drm_mode_create_dumb arg = {
		.width = sysconf(_SC_PAGESIZE),
		.height = pages,
		.bpp = 8,
	};
	int ret = do_ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &arg);

	*handle = arg.handle;
	return ret;
}

static inline int dumb_destroy(int fd, uint32_t handle)
{
	struct drm_mode_destroy_dumb arg = { .handle = handle };

	return do_ioctl(fd, DRM_IOCTL_MODE_DESTROY_DUMB, &arg);
}

/* Returns the offset for mmap(), or -errno. */
static inline int64_t dumb_offset(int fd, uint32_t handle)
{
	struct drm_mode_map_dumb arg = { .handle = handle };
	int ret = do_ioctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &arg);

	return ret ?: (int64_t)arg.offset;
}

static inline int gem_close(int fd, uint32_t handle)
{
	struct drm_gem_close arg = { .handle = handle };

	return do_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &arg);
}

/* Returns the dma-buf, or -errno. */
static inline int prime_export(int fd, uint32_t handle)
{
	struct drm_prime_handle arg = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR };
	int ret = do_ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &arg);

	return ret ?: arg.fd;
}

static inline int prime_import(int fd, int dmabuf, uint32_t *handle)
{
	struct drm_prime_handle arg = { .fd = dmabuf };
	int ret = do_ioctl(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &arg);

	*handle = arg.handle;
	return ret;
}

/* Returns a sync_file of what an access of that kind would wait for, or -errno. */
static inline int export_sync_file(int dmabuf, uint32_t flags)
{
	struct dma_buf_export_sync_file arg = { .flags = flags };
	int ret = do_ioctl(dmabuf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &arg);

	return ret ?: arg.fd;
}

static inline int import_sync_file(int dmabuf, uint32_t flags, int sync_file)
{
	struct dma_buf_import_sync_file arg = { .flags = flags, .fd = sync_file };

	return do_ioctl(dmabuf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &arg);
}

/* Returns 1 if it was signaled, 0 if not, or the fence's error. */
static inline int sync_file_status(int sync_file)
{
	struct sync_file_info arg = {};
	int ret = do_ioctl(sync_file, SYNC_IOC_FILE_INFO, &arg);

	return ret ?: arg.status;
}

/* Returns the number of fences, or -errno, and @max of them. */
static inline int sync_file_fences(int sync_file, struct sync_fence_info *info, int max)
{
	struct sync_file_info arg = {
		.num_fences = max,
		.sync_fence_info = (uintptr_t)info,
	};
	int ret = do_ioctl(sync_file, SYNC_IOC_FILE_INFO, &arg);

	return ret ?: (int)arg.num_fences;
}

/* Which of POLLIN and POLLOUT is ready within @ms, or -errno. */
static inline int poll_fd(int fd, short events, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = events };
	int ret = poll(&pfd, 1, ms);

	return ret < 0 ? -errno : pfd.revents;
}

static inline bool readable(int dmabuf)
{
	return poll_fd(dmabuf, POLLIN, 0) == POLLIN;
}

static inline bool writable(int dmabuf)
{
	return poll_fd(dmabuf, POLLOUT, 0) == POLLOUT;
}

/* Allows as many files as there may be. */
static inline void raise_nofile(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Returns 0 or -errno. */
static inline int write_file(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	ssize_t ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, value, strlen(value));
	ret = ret < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* Returns 0 or -errno. */
static inline int read_file(const char *path, char *value, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t ret;

	if (fd < 0)
		return -errno;
	ret = read(fd, value, size - 1);
	value[ret < 0 ? 0 : ret] = '\0';
	ret = ret < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* The number behind name, which begins a line, or -1. */
static inline long read_number(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	char line[256];
	long value = -1;

	if (!file)
		return -1;
	while (value < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			value = atol(line + strlen(name));
	fclose(file);
	return value;
}

/* Allocations that fail */

#define FAILSLAB "/sys/kernel/debug/failslab/"
#define NO_FAILSLAB "needs root, and a kernel with FAILSLAB and FAULT_INJECTION_DEBUG_FS"

/* Open all the time, as to open it takes memory, too. */
static int fail_fd;

/* What the settings were before. */
static char fail_wait[16], fail_verbose[16];

static inline void fail_ends(void)
{
	write_file(FAILSLAB "ignore-gfp-wait", fail_wait);
	write_file(FAILSLAB "verbose", fail_verbose);
}

/* Returns whether fail_nth() can be called from now on. If so, call fail_ends() in the end. */
static inline bool fail_begins(void)
{
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	fail_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fail_fd < 0 || read_file(FAILSLAB "ignore-gfp-wait", fail_wait, sizeof(fail_wait)) ||
	    read_file(FAILSLAB "verbose", fail_verbose, sizeof(fail_verbose)))
		return false;
	/* Also where the kernel could wait for memory, and without a word in its log. */
	if (!write_file(FAILSLAB "ignore-gfp-wait", "N") && !write_file(FAILSLAB "verbose", "0"))
		return true;
	fail_ends();
	return false;
}

/* Lets the nth allocation of this thread from now on fail. */
static inline void fail_nth(int n)
{
	char value[16];

	(void)!pwrite(fail_fd, value, snprintf(value, sizeof(value), "%d", n), 0);
}

/* Ends that, and returns whether an allocation failed. */
static inline bool failed_nth(void)
{
	char value[16] = "";
	int ret;

	ret = pread(fail_fd, value, sizeof(value) - 1, 0);
	fail_nth(0);
	return ret > 0 && !atoi(value);
}

/* Returns how many warnings the kernel has had from where @kmsg is on. */
static inline int warnings(int kmsg)
{
	char record[8192];
	int found = 0;
	ssize_t size;

	while ((size = read(kmsg, record, sizeof(record) - 1)) > 0 || errno == EPIPE) {
		record[size > 0 ? size : 0] = '\0';
		found += strstr(record, "WARNING:") || strstr(record, "BUG:");
	}
	return found;
}

#endif /* VGEM_COMMON_H */
