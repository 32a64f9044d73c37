// SPDX-License-Identifier: GPL-2.0
/*
 * Measures what VGEM costs beside the time of its calls, as bench/client.c prints it:
 *
 * cost load FILE	what loading the module in FILE and unloading it takes, in time of
 *			the caller: what others do, and waiting, do not count
 * cost memory		bytes of slab, on average over many
 * cost stack		bytes of stack that a call uses, from where it enters the kernel
 */

#include <dirent.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "stack.h"
#include "vgem.h"

static void load(const char *path)
{
	enum { TIMES = 10 };
	static char module[1 << 22];
	uint64_t loading = 0, unloading = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size;

	if (fd < 0)
		fail(path);
	size = read(fd, module, sizeof(module));
	close(fd);
	for (int i = 0; i < TIMES; i++) {
		uint64_t start, loaded;

		settle();
		MARK(MARK_FIRST);
		start = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
		if (syscall(SYS_init_module, module, size, ""))
			fail("init_module");
		loading += nanoseconds(CLOCK_THREAD_CPUTIME_ID) - start;
		MARK(MARK_NOTHING);

		settle();
		MARK(MARK_SECOND);
		loaded = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
		if (syscall(SYS_delete_module, "vgem", 0))
			fail("delete_module");
		unloading += nanoseconds(CLOCK_THREAD_CPUTIME_ID) - loaded;
		MARK(MARK_NOTHING);
	}
	print("load the module", 1, loading, TIMES, 1);
	print("unload the module", 1, unloading, TIMES, 1);
}

/* Has every cache of slabs give back what is free. */
static void shrink(void)
{
	static const char caches[] = "/sys/kernel/slab";
	DIR *dir = opendir(caches);
	struct dirent *entry;

	if (!dir)
		fail(caches);
	while ((entry = readdir(dir))) {
		char path[512];
		int fd;

		snprintf(path, sizeof(path), "%s/%s/shrink", caches, entry->d_name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd >= 0 && write(fd, "1", 1) != 1)
			fail(path);
		if (fd >= 0)
			close(fd);
	}
	closedir(dir);
}

/*
 * The bytes that objects in slabs take, each its share of its slab, once what was freed is
 * back; it takes less time than a fence lives.
 */
static int64_t slab(void)
{
	static const char slabinfo[] = "/proc/slabinfo";
	double bytes = 0, objects, per_slab, pages;
	char line[256];
	FILE *f;

	sleep(6);
	shrink();
	f = fopen(slabinfo, "r");
	if (!f)
		fail(slabinfo);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %lf %*u %*u %lf %lf", &objects, &per_slab, &pages) == 3)
			bytes += objects * pages * sysconf(_SC_PAGESIZE) / per_slab;
	fclose(f);
	return bytes;
}

static void memory_of_buffers(unsigned long count, int say)
{
	int fd = open_device();
	int64_t before = slab();

	for (unsigned long i = 0; i < count; i++)
		create(fd, 1);
	if (say)
		print("a buffer", 1, slab() - before, count, 1);
	close(fd);
}

static void memory_of_files(unsigned long count, int say)
{
	int *fd = calloc(count, sizeof(*fd));
	int64_t before = slab();

	for (unsigned long i = 0; i < count; i++)
		fd[i] = open_device();
	if (say)
		print("a file", 1, slab() - before, count, 1);
	for (unsigned long i = 0; i < count; i++)
		close(fd[i]);
	free(fd);
}

/* With its place in its buffer's list, which is long. */
static void memory_of_live(unsigned long count, int say)
{
	unsigned long buffers = count / PER_BUFFER;
	uint32_t *handle = calloc(buffers, sizeof(*handle));
	int fd = open_device();
	int64_t before;

	for (unsigned long i = 0; i < buffers; i++)
		handle[i] = create(fd, 1);
	before = slab();
	for (unsigned long i = 0; i < buffers * PER_BUFFER; i++)
		attach(fd, handle[i % buffers]);
	if (say)
		print("a live fence", 1, slab() - before, buffers * PER_BUFFER, 1);
	close(fd);
	free(handle);
}

/* On one buffer, which does not keep a fence that was signaled. */
static void memory_of_signaled(unsigned long count, int say)
{
	int fd = open_device();
	uint32_t handle = create(fd, 1);
	int64_t before;

	sig(fd, attach(fd, handle));
	before = slab();
	for (unsigned long i = 0; i < count; i++)
		sig(fd, attach(fd, handle));
	if (say)
		print("a signaled fence", 1, slab() - before, count, 1);
	close(fd);
}

static void memory(void)
{
	static const struct rlimit files = { 8192, 8192 };

	if (setrlimit(RLIMIT_NOFILE, &files))
		fail("RLIMIT_NOFILE");
	/* What there is once does not count: hence the first. */
	for (int say = 0; say <= 1; say++) {
		memory_of_live(64 * 1024, say);
		memory_of_signaled(200000, say);
		memory_of_buffers(20000, say);
		memory_of_files(4000, say);
	}
}

/* What bench/kernel/stack.c has of the calls since. */
static int stack_fd;

static long stack_call(unsigned int call)
{
	long value = ioctl(stack_fd, call);

	if (value < 0)
		fail("/proc/bench-stack");
	return value;
}

/* The least of many times, as an interrupt adds its own. */
#define STACK(row, before, call, after)				\
	do {							\
		long least = 1 << 20;				\
								\
		for (int time = 0; time < 30; time++) {		\
			long used;				\
								\
			before;					\
			stack_call(STACK_FILL);			\
			call;					\
			used = stack_call(STACK_DEPTH);		\
			least = used < least ? used : least;	\
			after;					\
		}						\
		print(row, 1, least, 1, 1);			\
	} while (0)

static void stack(void)
{
	struct drm_get_cap cap = { .capability = DRM_CAP_DUMB_BUFFER };
	struct drm_mode_map_dumb map = {};
	struct drm_prime_handle prime = {};
	struct drm_gem_close gem = {};
	int fd, other;
	uint32_t handle, fence;

	stack_fd = open("/proc/bench-stack", O_RDWR | O_CLOEXEC);
	if (stack_fd < 0)
		fail("/proc/bench-stack");
	fd = open_device();
	other = open_device();
	handle = create(fd, 1);
	map.handle = handle;
	STACK("(what measures)", , , );
	STACK("null ioctl", , ioctl(fd, DRM_IOCTL_GET_CAP, &cap), );
	STACK("ATTACH", , fence = attach(fd, handle), sig(fd, fence));
	STACK("SIGNAL", fence = attach(fd, handle), sig(fd, fence), );
	STACK("CREATE_DUMB", , handle = create(fd, 1), destroy(fd, handle));
	STACK("DESTROY_DUMB", handle = create(fd, 1), destroy(fd, handle), );
	STACK("MAP_DUMB", , ioctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &map), );
	handle = create(fd, 1);
	STACK("PRIME_HANDLE_TO_FD", , prime.fd = prime_export(fd, handle), close(prime.fd));
	prime.fd = prime_export(fd, handle);
	STACK("PRIME_FD_TO_HANDLE", , ioctl(other, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime),
	      gem.handle = prime.handle; ioctl(other, DRM_IOCTL_GEM_CLOSE, &gem));
	close(prime.fd);
	close(other);
	STACK("open", , other = open_device(), close(other));
	STACK("close with a live fence", other = open_device(); attach(other, create(other, 1)),
	      close(other), );
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "load")) {
		load(argv[2]);
		return 0;
	}
	if (argc != 2)
		return 2;
	find_device("vgem");
	if (!strcmp(argv[1], "memory"))
		memory();
	else if (!strcmp(argv[1], "stack"))
		stack();
	else
		return 2;
	return 0;
}
