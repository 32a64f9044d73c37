// SPDX-License-Identifier: GPL-2.0
/*
 * Measures what VGEM's user space calls take, and prints a line for each:
 *
 *	ROW <tab> X <tab> NANOSECONDS
 *
 * a call. X is what the row varies: fences, handles, threads, bytes. Where the clock
 * counts instructions, a nanosecond is one.
 *
 * client [ROW...]: only the rows whose names begin with one of these.
 */

#include <drm/drm.h>
#include <drm/drm_mode.h>
#include <drm/vgem_drm.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* No more live fences on a buffer than this, as each is looked at by the next. */
#define PER_BUFFER 64

static char **wanted;
static char node[32];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void print(const char *row, unsigned long x, uint64_t ns, unsigned long calls)
{
	printf("%s\t%lu\t%.1f\n", row, x, (double)ns / calls);
	fflush(stdout);
}

static int want(const char *row)
{
	if (!*wanted)
		return 1;
	for (char **w = wanted; *w; w++)
		if (!strncmp(row, *w, strlen(*w)))
			return 1;
	return 0;
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

/* Attaches live fences, few to a buffer. */
static void live(int fd, unsigned long count)
{
	uint32_t handle = 0;

	for (unsigned long i = 0; i < count; i++) {
		if (i % PER_BUFFER == 0)
			handle = create(fd, 1);
		attach(fd, handle);
	}
}

static void get_cap(const char *row)
{
	int fd = open_vgem();
	uint64_t start = now();

	for (int i = 0; i < 20000; i++) {
		struct drm_get_cap arg = { .capability = DRM_CAP_DUMB_BUFFER };

		ioctl(fd, DRM_IOCTL_GET_CAP, &arg);
	}
	print(row, 1, now() - start, 20000);
	close(fd);
}

static void signal_unknown(const char *row)
{
	int fd = open_vgem();
	uint64_t start = now();

	for (int i = 0; i < 20000; i++) {
		struct drm_vgem_fence_signal arg = { .fence = 12345 };

		ioctl(fd, DRM_IOCTL_VGEM_FENCE_SIGNAL, &arg);
	}
	print(row, 1, now() - start, 20000);
	close(fd);
}

/* Both, apart, on buffers that have up to 8 live fences. */
static void attach_signal_apart(const char *row)
{
	enum { BUFFERS = 256, EACH = 8, ROUNDS = 5 };
	static uint32_t handles[BUFFERS], fences[BUFFERS * EACH];
	uint64_t attaching = 0, signalling = 0;
	int fd = open_vgem();

	for (int i = 0; i < BUFFERS; i++)
		handles[i] = create(fd, 1);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start = now(), middle;

		for (int i = 0; i < BUFFERS * EACH; i++)
			fences[i] = attach(fd, handles[i % BUFFERS]);
		middle = now();
		for (int i = 0; i < BUFFERS * EACH; i++)
			sig(fd, fences[i]);
		attaching += middle - start;
		signalling += now() - middle;
	}
	print("ATTACH", 1, attaching, BUFFERS * EACH * ROUNDS);
	print("SIGNAL", 1, signalling, BUFFERS * EACH * ROUNDS);
	close(fd);
	(void)row;
}

static uint64_t pairs(int fd, uint32_t handle, int count)
{
	uint64_t start = now();

	for (int i = 0; i < count; i++)
		sig(fd, attach(fd, handle));
	return now() - start;
}

static void fences_per_buffer(const char *row)
{
	static const int counts[] = { 1, 8, 64 };

	for (int c = 0; c < 3; c++) {
		int fd = open_vgem();
		uint32_t handle = create(fd, 1);

		for (int i = 1; i < counts[c]; i++)
			attach(fd, handle);
		pairs(fd, handle, 100);
		print(row, counts[c], pairs(fd, handle, 5000), 5000);
		close(fd);
	}
}

static void fences_per_file(const char *row)
{
	for (unsigned long count = 1; count <= 1000000; count *= 10) {
		int fd = open_vgem();
		uint32_t handle = create(fd, 1);

		live(fd, count - 1);
		pairs(fd, handle, 100);
		print(row, count, pairs(fd, handle, 5000), 5000);
		close(fd);
	}
}

static void create_destroy(const char *row)
{
	int fd = open_vgem();
	uint64_t start = now();

	for (int i = 0; i < 3000; i++)
		destroy(fd, create(fd, 1));
	print(row, 1, now() - start, 3000);
	close(fd);
}

/* SIGNAL has no buffer, so this is what finding it takes, and ATTACH with -EBUSY. */
static void lookup(const char *row)
{
	for (unsigned long count = 1; count <= 100000; count *= 10) {
		int fd = open_vgem();
		uint32_t handle = create(fd, 1);
		struct drm_vgem_fence_attach arg = { .flags = VGEM_FENCE_WRITE };
		uint64_t start;

		for (unsigned long i = 1; i < count; i++)
			create(fd, 1);
		attach(fd, handle);
		start = now();
		for (int i = 0; i < 5000; i++) {
			arg.handle = handle;
			if (!ioctl(fd, DRM_IOCTL_VGEM_FENCE_ATTACH, &arg) || errno != EBUSY)
				fail("FENCE_ATTACH");
		}
		print(row, count, now() - start, 5000);
		close(fd);
	}
}

static int prime_export(int fd, uint32_t handle)
{
	struct drm_prime_handle arg = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR };

	if (ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &arg))
		fail("PRIME_HANDLE_TO_FD");
	return arg.fd;
}

static void prime(const char *row)
{
	int a = open_vgem(), b = open_vgem();
	uint64_t exporting = 0, importing = 0;

	for (int i = 0; i < 2000; i++) {
		uint32_t handle = create(a, 1);
		uint64_t start = now(), middle;
		struct drm_prime_handle arg = { .fd = prime_export(a, handle) };
		struct drm_gem_close gem = {};

		middle = now();
		if (ioctl(b, DRM_IOCTL_PRIME_FD_TO_HANDLE, &arg))
			fail("PRIME_FD_TO_HANDLE");
		exporting += middle - start;
		importing += now() - middle;
		gem.handle = arg.handle;
		ioctl(b, DRM_IOCTL_GEM_CLOSE, &gem);
		close(arg.fd);
		destroy(a, handle);
	}
	print("export", 1, exporting, 2000);
	print("import", 1, importing, 2000);
	close(a);
	close(b);
	(void)row;
}

static void sync_file(const char *row)
{
	int fd = open_vgem();
	uint32_t handle = create(fd, 1);
	int buf = prime_export(fd, handle);
	uint64_t start;

	attach(fd, handle);
	start = now();
	for (int i = 0; i < 3000; i++) {
		struct dma_buf_export_sync_file arg = { .flags = DMA_BUF_SYNC_RW };

		if (ioctl(buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &arg))
			fail("EXPORT_SYNC_FILE");
		close(arg.fd);
	}
	print(row, 1, now() - start, 3000);
	close(buf);
	close(fd);
}

static void open_close(const char *row)
{
	uint64_t start = now();

	for (int i = 0; i < 2000; i++)
		close(open_vgem());
	print(row, 1, now() - start, 2000);
}

/* The whole close, not a call: what it costs that there were this many fences. */
static void close_signalled(const char *row)
{
	for (unsigned long count = 1; count <= 1000000; count *= 10) {
		int fd = open_vgem();
		uint32_t handle = create(fd, 1);
		uint64_t start;

		pairs(fd, handle, count);
		start = now();
		close(fd);
		print(row, count, now() - start, 1);
	}
}

static void close_live(const char *row)
{
	for (unsigned long count = 1; count <= 100000; count *= 10) {
		int fd = open_vgem(), keep = open_vgem();
		uint64_t start;

		live(fd, count);
		start = now();
		close(fd);
		print(row, count, now() - start, 1);
		close(keep);
	}
}

/* A page that is touched for the first time, and each byte that is written after. */
static void mmap_write(const char *row)
{
	enum { PAGES = 4096, ROUNDS = 4 };
	struct drm_mode_map_dumb arg = {};
	int fd = open_vgem();
	uint64_t start, faulted;
	char *p;

	arg.handle = create(fd, PAGES);
	if (ioctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &arg))
		fail("MAP_DUMB");
	p = mmap(NULL, PAGES * 4096ul, PROT_READ | PROT_WRITE, MAP_SHARED, fd, arg.offset);
	if (p == MAP_FAILED)
		fail("mmap");

	start = now();
	for (int i = 0; i < PAGES; i++)
		*(volatile char *)(p + i * 4096ul) = 1;
	faulted = now();
	for (int i = 0; i < ROUNDS; i++) {
		memset(p, i, PAGES * 4096ul);
		__asm__ volatile("" ::: "memory");
	}
	print("fault a page", 1, faulted - start, PAGES);
	print("write a page", 1, now() - faulted, PAGES * ROUNDS);
	munmap(p, PAGES * 4096ul);
	close(fd);
	(void)row;
}

struct thread {
	pthread_t id;
	int fd;
	uint32_t handle;
};

static pthread_barrier_t barrier;

static void *thread_main(void *data)
{
	struct thread *thread = data;

	pthread_barrier_wait(&barrier);
	pairs(thread->fd, thread->handle, 2000);
	return NULL;
}

/* Pairs a second, as the time that one takes all threads together. */
static void threads(const char *row, int same_file, int same_buffer)
{
	for (int count = 1; count <= 4; count++) {
		struct thread thread[4];
		uint64_t start;

		pthread_barrier_init(&barrier, NULL, count + 1);
		for (int i = 0; i < count; i++) {
			thread[i].fd = i && same_file ? thread[0].fd : open_vgem();
			thread[i].handle = i && same_buffer ? thread[0].handle
							    : create(thread[i].fd, 1);
			if (pthread_create(&thread[i].id, NULL, thread_main, &thread[i]))
				fail("pthread_create");
		}
		start = now();
		pthread_barrier_wait(&barrier);
		for (int i = 0; i < count; i++)
			pthread_join(thread[i].id, NULL);
		print(row, count, now() - start, 2000 * count);
		for (int i = 0; i < count; i++)
			if (!i || !same_file)
				close(thread[i].fd);
	}
}

static void threads_buffer(const char *row)
{
	threads(row, 1, 1);
}

static void threads_file(const char *row)
{
	threads(row, 1, 0);
}

static void threads_files(const char *row)
{
	threads(row, 0, 0);
}

static const struct {
	const char *name;
	void (*run)(const char *row);
} rows[] = {
	{ "null ioctl", get_cap },
	{ "SIGNAL, unknown", signal_unknown },
	{ "ATTACH, SIGNAL apart", attach_signal_apart },
	{ "pair, by fences on the buffer", fences_per_buffer },
	{ "pair, by fences of the file", fences_per_file },
	{ "create, destroy", create_destroy },
	{ "ATTACH, busy, by handles", lookup },
	{ "prime", prime },
	{ "export sync_file, close", sync_file },
	{ "open, close", open_close },
	{ "close, by signalled fences", close_signalled },
	{ "close, by live fences", close_live },
	{ "mmap", mmap_write },
	{ "pair, by threads, one buffer", threads_buffer },
	{ "pair, by threads, one file", threads_file },
	{ "pair, by threads, files", threads_files },
};

int main(int argc, char **argv)
{
	(void)argc;
	wanted = argv + 1;
	find_vgem();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (want(rows[i].name))
			rows[i].run(rows[i].name);
	return 0;
}
