// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings of VGEM's buffers: every page shows its own memory, wherever the mapping begins
 * and however it is split, and what can't be mapped is refused.
 */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/udmabuf.h>

#include "kselftest_harness.h"
#include "vgem_common.h"

#define RW	(PROT_READ | PROT_WRITE)
#define TAG	0x56470000

enum { PAGES = 8 };

static long page;

static uint32_t *word(char *map, long number)
{
	return (uint32_t *)(map + number * page);
}

static uint32_t load(uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void store(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

/* A buffer, and a mapping of all of it that nothing splits. */
struct buffer {
	int fd;
	uint32_t handle;
	int dmabuf;
	int64_t offset;
	long pages;
	char *whole;
};

/* Returns 0, or -errno: -ENODEV if there is no VGEM device, or no right to open it. */
static int buffer_init(struct buffer *buffer, long pages, uint32_t access)
{
	struct drm_prime_handle export = { .flags = DRM_CLOEXEC | access };
	int ret;
	long i;

	page = sysconf(_SC_PAGESIZE);
	buffer->pages = pages;
	buffer->fd = vgem_open();
	if (buffer->fd < 0)
		return -ENODEV;
	ret = dumb_create(buffer->fd, pages, &buffer->handle);
	if (ret)
		return ret;
	export.handle = buffer->handle;
	ret = do_ioctl(buffer->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &export);
	if (ret)
		return ret;
	buffer->dmabuf = export.fd;
	buffer->offset = dumb_offset(buffer->fd, buffer->handle);
	if (buffer->offset < 0)
		return buffer->offset;
	buffer->whole = mmap(NULL, pages * page, RW, MAP_SHARED, buffer->fd, buffer->offset);
	if (buffer->whole == MAP_FAILED)
		return -errno;
	for (i = 0; i < pages; i++)
		store(word(buffer->whole, i), TAG + i);
	return 0;
}

static void buffer_fini(struct buffer *buffer)
{
	if (buffer->fd < 0)
		return;
	munmap(buffer->whole, buffer->pages * page);
	close(buffer->dmabuf);
	close(buffer->fd);
}

/*
 * Returns how many of @count pages at @map are not those of the buffer from @first on, to read
 * and, if the mapping allows that, to write.
 */
static int wrong(struct buffer *buffer, char *map, long first, long count, int prot)
{
	static uint32_t serial;
	int wrong = 0;
	long i;

	for (i = 0; i < count; i++) {
		uint32_t *seen = word(map, i);
		uint32_t *real = word(buffer->whole, first + i);

		if (prot & PROT_WRITE) {
			store(&seen[1], ++serial);
			wrong += load(&real[1]) != serial;
		}
		wrong += load(&seen[0]) != TAG + first + i;
	}
	return wrong;
}

/* Returns the signal that a child dies of when it accesses @address, or 0. */
static int access_dies(uint32_t *address, bool write)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		if (write)
			store(&address[2], 0);
		else
			load(&address[2]);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* Mappings that are split, before or after their pages were first used. */

FIXTURE(vgem_split) {
	struct buffer buffer;
};

FIXTURE_VARIANT(vgem_split) {
	bool dmabuf, used;
};

FIXTURE_VARIANT_ADD(vgem_split, gem_unused) { .dmabuf = false, .used = false };
FIXTURE_VARIANT_ADD(vgem_split, gem_used) { .dmabuf = false, .used = true };
FIXTURE_VARIANT_ADD(vgem_split, dmabuf_unused) { .dmabuf = true, .used = false };
FIXTURE_VARIANT_ADD(vgem_split, dmabuf_used) { .dmabuf = true, .used = true };

FIXTURE_SETUP(vgem_split)
{
	int ret = buffer_init(&self->buffer, PAGES, DRM_RDWR);

	if (ret == -ENODEV)
		SKIP(return, "no VGEM device, or no right to open it");
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(vgem_split)
{
	buffer_fini(&self->buffer);
}

static char *map_all(struct buffer *buffer, const struct _fixture_variant_vgem_split *variant)
{
	char *map;

	map = mmap(NULL, PAGES * page, RW, MAP_SHARED,
		   variant->dmabuf ? buffer->dmabuf : buffer->fd,
		   variant->dmabuf ? 0 : buffer->offset);
	if (map != MAP_FAILED && variant->used && wrong(buffer, map, 0, PAGES, RW)) {
		munmap(map, PAGES * page);
		return MAP_FAILED;
	}
	return map;
}

/* Goes on to the next part of a buffer, from 0 and 0 on; the whole is none. */
static bool next_part(long *at, long *n)
{
	if (++*n > PAGES - (*at ?: 1)) {
		(*at)++;
		*n = 1;
	}
	return *at < PAGES;
}

TEST_F(vgem_split, munmap)
{
	struct buffer *buffer = &self->buffer;
	long at = 0, n = 0;

	while (next_part(&at, &n)) {
		char *map = map_all(buffer, variant);
		char *rest = map + (at + n) * page;

		ASSERT_NE(MAP_FAILED, map);
		ASSERT_EQ(0, munmap(map + at * page, n * page));
		EXPECT_EQ(0, wrong(buffer, map, 0, at, RW));
		EXPECT_EQ(0, wrong(buffer, rest, at + n, PAGES - at - n, RW)) {
			TH_LOG("%ld pages at %ld were unmapped", n, at);
		}
		munmap(map, PAGES * page);
	}
}

TEST_F(vgem_split, mprotect)
{
	struct buffer *buffer = &self->buffer;
	long at = 0, n = 0;

	while (next_part(&at, &n)) {
		char *map = map_all(buffer, variant);
		char *part = map + at * page;

		ASSERT_NE(MAP_FAILED, map);
		ASSERT_EQ(0, mprotect(part, n * page, PROT_READ));
		EXPECT_EQ(0, wrong(buffer, part, at, n, PROT_READ)) {
			TH_LOG("%ld pages at %ld were protected", n, at);
		}
		EXPECT_EQ(SIGSEGV, access_dies(word(part, n - 1), true));
		EXPECT_EQ(0, wrong(buffer, map, 0, at, RW));
		EXPECT_EQ(0, wrong(buffer, part + n * page, at + n, PAGES - at - n, RW));
		ASSERT_EQ(0, mprotect(part, n * page, PROT_NONE));
		EXPECT_EQ(SIGSEGV, access_dies(word(part, 0), false));
		ASSERT_EQ(0, mprotect(part, n * page, RW));
		EXPECT_EQ(0, wrong(buffer, map, 0, PAGES, RW));
		munmap(map, PAGES * page);
	}
}

TEST_F(vgem_split, madvise)
{
	struct buffer *buffer = &self->buffer;
	long at = 0, n = 0;

	while (next_part(&at, &n)) {
		char *map = map_all(buffer, variant);
		char *part = map + at * page;

		ASSERT_NE(MAP_FAILED, map);
		ASSERT_EQ(0, madvise(part, n * page, MADV_RANDOM));
		EXPECT_EQ(0, wrong(buffer, map, 0, PAGES, RW)) {
			TH_LOG("%ld pages at %ld are read at random", n, at);
		}
		EXPECT_EQ(-1, madvise(part, n * page, MADV_DONTNEED));
		EXPECT_EQ(EINVAL, errno);
		munmap(map, PAGES * page);
	}
}

TEST_F(vgem_split, mremap)
{
	struct buffer *buffer = &self->buffer;
	char *there = mmap(NULL, PAGES * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long at = 0, n = 0;

	ASSERT_NE(MAP_FAILED, there);
	while (next_part(&at, &n)) {
		char *map = map_all(buffer, variant);
		char *part = map + at * page;

		ASSERT_NE(MAP_FAILED, map);
		ASSERT_EQ(there, mremap(part, n * page, n * page, MREMAP_MAYMOVE | MREMAP_FIXED,
					there));
		EXPECT_EQ(0, wrong(buffer, there, at, n, RW)) {
			TH_LOG("%ld pages at %ld were moved", n, at);
		}
		EXPECT_EQ(0, wrong(buffer, map, 0, at, RW));
		EXPECT_EQ(0, wrong(buffer, part + n * page, at + n, PAGES - at - n, RW));
		/* Not even where there is room. */
		EXPECT_EQ(MAP_FAILED, mremap(there, n * page, (n + 1) * page, MREMAP_MAYMOVE));
		EXPECT_EQ(EFAULT, errno);
		EXPECT_EQ(MAP_FAILED, mremap(there, n * page, n * page,
					     MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
		EXPECT_EQ(EINVAL, errno);
		if (n > 1) {
			EXPECT_EQ(there, mremap(there, n * page, page, 0));
			EXPECT_EQ(0, wrong(buffer, there, at, 1, RW));
		}
		munmap(map, PAGES * page);
	}
	munmap(there, PAGES * page);
}

/* A child has the parts that its parent has, except those that it is not to have. */
TEST_F(vgem_split, fork)
{
	struct buffer *buffer = &self->buffer;
	char *map = map_all(buffer, variant);
	int status;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, munmap(map, page));
	ASSERT_EQ(0, madvise(map + 5 * page, page, MADV_DONTFORK));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		EXPECT_EQ(0, wrong(buffer, map + page, 1, 4, RW));
		EXPECT_EQ(SIGSEGV, access_dies(word(map, 5), false));
		EXPECT_EQ(0, munmap(map + 2 * page, page));
		EXPECT_EQ(0, wrong(buffer, map + 3 * page, 3, 2, RW));
		EXPECT_EQ(0, wrong(buffer, map + 6 * page, 6, 2, RW));
		_exit(_metadata->exit_code);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, wrong(buffer, map + page, 1, PAGES - 1, RW));
	munmap(map, PAGES * page);
}

/* Mappings that are not split, and what is refused. */

FIXTURE(vgem_map) {
	struct buffer buffer;
};

FIXTURE_SETUP(vgem_map)
{
	int ret = buffer_init(&self->buffer, PAGES, DRM_RDWR);

	if (ret == -ENODEV)
		SKIP(return, "no VGEM device, or no right to open it");
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(vgem_map)
{
	buffer_fini(&self->buffer);
}

TEST_F(vgem_map, dmabuf_offsets)
{
	static const int prots[] = { PROT_READ, RW };
	struct buffer *buffer = &self->buffer;
	long first, count;
	size_t i;
	char *map;

	for (first = 0; first < PAGES; first++)
		for (count = 1; count <= PAGES - first; count++)
			for (i = 0; i < ARRAY_SIZE(prots); i++) {
				map = mmap(NULL, count * page, prots[i], MAP_SHARED,
					   buffer->dmabuf, first * page);
				ASSERT_NE(MAP_FAILED, map);
				EXPECT_EQ(0, wrong(buffer, map, first, count, prots[i])) {
					TH_LOG("%ld pages at %ld", count, first);
				}
				munmap(map, count * page);
			}
}

/* remap_file_pages() makes a new mapping, at another offset. */
TEST_F(vgem_map, dmabuf_remap)
{
	struct buffer *buffer = &self->buffer;
	char *map = mmap(NULL, 2 * page, RW, MAP_SHARED, buffer->dmabuf, 0);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, syscall(SYS_remap_file_pages, map, page, 0, 5, 0));
	EXPECT_EQ(0, wrong(buffer, map, 5, 1, RW));
	EXPECT_EQ(0, wrong(buffer, map + page, 1, 1, RW));
	munmap(map, 2 * page);
}

/* A mapping at the offset of the GEM object may be shorter than that. */
TEST_F(vgem_map, gem_lengths)
{
	struct buffer *buffer = &self->buffer;
	long count;
	char *map;

	for (count = 1; count <= PAGES; count++) {
		map = mmap(NULL, count * page, RW, MAP_SHARED, buffer->fd, buffer->offset);
		ASSERT_NE(MAP_FAILED, map);
		EXPECT_EQ(0, wrong(buffer, map, 0, count, RW));
		munmap(map, count * page);
	}
}

TEST_F(vgem_map, read_only)
{
	struct buffer *buffer = &self->buffer;
	char *map;

	map = mmap(NULL, PAGES * page, PROT_READ, MAP_SHARED, buffer->fd, buffer->offset);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, wrong(buffer, map, 0, PAGES, PROT_READ));
	EXPECT_EQ(SIGSEGV, access_dies(word(map, 3), true));
	ASSERT_EQ(0, mprotect(map, PAGES * page, RW));
	EXPECT_EQ(0, wrong(buffer, map, 0, PAGES, RW));
	munmap(map, PAGES * page);
}

/* A dma-buf that was not exported with DRM_RDWR. */
TEST_F(vgem_map, dmabuf_read_only)
{
	struct buffer buffer;
	char *map;

	ASSERT_EQ(0, buffer_init(&buffer, PAGES, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, page, RW, MAP_SHARED, buffer.dmabuf, 0));
	EXPECT_EQ(EACCES, errno);
	map = mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, buffer.dmabuf, 3 * page);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, wrong(&buffer, map, 3, 2, PROT_READ));
	EXPECT_EQ(-1, mprotect(map, page, RW));
	EXPECT_EQ(EACCES, errno);
	munmap(map, 2 * page);
	buffer_fini(&buffer);
}

TEST_F(vgem_map, refused)
{
	struct buffer *buffer = &self->buffer;
	const struct {
		int fd;
		int64_t offset;
		long pages;
		int flags;
	} bad[] = {
		{ buffer->dmabuf, 0, PAGES + 1, MAP_SHARED },
		{ buffer->dmabuf, page, PAGES, MAP_SHARED },
		{ buffer->dmabuf, PAGES * page, 1, MAP_SHARED },
		{ buffer->dmabuf, INT64_MAX & -page, 1, MAP_SHARED },
		{ buffer->dmabuf, 1, 1, MAP_SHARED },
		{ buffer->dmabuf, 0, 1, MAP_PRIVATE },
		{ buffer->dmabuf, page, 1, MAP_PRIVATE },
		{ buffer->fd, buffer->offset, PAGES + 1, MAP_SHARED },
		{ buffer->fd, buffer->offset + page, 1, MAP_SHARED },
		{ buffer->fd, buffer->offset + page, PAGES - 1, MAP_SHARED },
		{ buffer->fd, buffer->offset + (PAGES - 1) * page, 1, MAP_SHARED },
		{ buffer->fd, buffer->offset + 1, 1, MAP_SHARED },
		{ buffer->fd, buffer->offset, 1, MAP_PRIVATE },
		{ buffer->fd, 0, 1, MAP_SHARED },
	};
	static const int prots[] = { PROT_READ, RW };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (size_t j = 0; j < ARRAY_SIZE(prots); j++) {
			char *map = mmap(NULL, bad[i].pages * page, prots[j], bad[i].flags,
					 bad[i].fd, bad[i].offset);

			EXPECT_EQ(MAP_FAILED, map) {
				TH_LOG("mapping %zu", i);
			}
			EXPECT_EQ(EINVAL, errno) {
				TH_LOG("mapping %zu", i);
			}
		}
	EXPECT_EQ(0, wrong(buffer, buffer->whole, 0, PAGES, RW));
}

/* Huge pages */

#define SHMEM_ENABLED "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

enum { HUGES = 4 };

FIXTURE(vgem_huge) {
	struct buffer buffer;
	long huge;		/* pages in a huge one */
	bool enabled;
	char *room;		/* for mappings that are aligned */
};

FIXTURE_VARIANT(vgem_huge) {
	bool dmabuf;
};

FIXTURE_VARIANT_ADD(vgem_huge, gem) { .dmabuf = false };
FIXTURE_VARIANT_ADD(vgem_huge, dmabuf) { .dmabuf = true };

FIXTURE_SETUP(vgem_huge)
{
	long size = read_number("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "");
	char value[128] = "";
	FILE *file;
	int ret;

	page = sysconf(_SC_PAGESIZE);
	self->huge = (size > 0 ? size : 2 << 20) / page;
	file = fopen(SHMEM_ENABLED, "re");
	if (file) {
		(void)!fgets(value, sizeof(value), file);
		fclose(file);
	}
	self->enabled = strstr(value, "[always]") || strstr(value, "[force]");
	ret = buffer_init(&self->buffer, HUGES * self->huge, DRM_RDWR);
	if (ret == -ENODEV)
		SKIP(return, "no VGEM device, or no right to open it");
	ASSERT_EQ(0, ret);
	self->room = mmap(NULL, (HUGES + 1) * self->huge * page, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->room);
	self->room = (char *)(((uintptr_t)self->room + self->huge * page - 1) &
			      -(self->huge * page));
}

FIXTURE_TEARDOWN(vgem_huge)
{
	buffer_fini(&self->buffer);
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/*
 * The same with huge pages, if the kernel uses these for shared memory. Then a mapping that is
 * aligned has to take one fault for each, and one that is not aligned no fewer than without.
 */
TEST_F(vgem_huge, pages)
{
	struct buffer *buffer = &self->buffer;
	long huge = self->huge, first, before, taken;
	int fd = variant->dmabuf ? buffer->dmabuf : buffer->fd;
	int64_t offset = variant->dmabuf ? 0 : buffer->offset;
	char *map;

	map = mmap(self->room, HUGES * huge * page, RW, MAP_SHARED | MAP_FIXED, fd, offset);
	ASSERT_EQ(self->room, map);
	before = faults();
	EXPECT_EQ(0, wrong(buffer, map, 0, HUGES * huge, RW));
	taken = faults() - before;
	TH_LOG("%ld faults for %d huge pages, which are %s", taken, HUGES,
	       self->enabled ? "enabled" : "not enabled");
	EXPECT_EQ(self->enabled, taken < huge);

	/* Split between huge pages, and within one, before and after it is used again. */
	ASSERT_EQ(0, munmap(map, huge * page));
	EXPECT_EQ(0, wrong(buffer, map + huge * page, huge, (HUGES - 1) * huge, RW));
	ASSERT_EQ(0, mprotect(map + huge * page, (huge + 3) * page, PROT_READ));
	EXPECT_EQ(0, wrong(buffer, map + huge * page, huge, huge + 3, PROT_READ));
	EXPECT_EQ(SIGSEGV, access_dies(word(map, huge), true));
	ASSERT_EQ(0, mprotect(map + huge * page, (huge + 3) * page, RW));
	EXPECT_EQ(0, wrong(buffer, map + huge * page, huge, (HUGES - 1) * huge, RW));
	ASSERT_EQ(map, mremap(map + 3 * huge * page, huge * page, huge * page,
			      MREMAP_MAYMOVE | MREMAP_FIXED, map));
	EXPECT_EQ(0, wrong(buffer, map, 3 * huge, huge, RW));
	EXPECT_EQ(0, wrong(buffer, map + huge * page, huge, 2 * huge, RW));
	munmap(map, HUGES * huge * page);

	/* Only a dma-buf can be mapped from the middle on: aligned, and not. */
	for (first = huge - 1; variant->dmabuf && first <= huge + 1; first++) {
		map = mmap(self->room, 2 * huge * page, RW, MAP_SHARED | MAP_FIXED, fd,
			   first * page);
		ASSERT_EQ(self->room, map);
		EXPECT_EQ(0, wrong(buffer, map, first, 2 * huge, RW)) {
			TH_LOG("mapped from page %ld on", first);
		}
		munmap(map, 2 * huge * page);
	}

	/* First used after it was split. */
	map = mmap(self->room, HUGES * huge * page, RW, MAP_SHARED | MAP_FIXED, fd, offset);
	ASSERT_EQ(self->room, map);
	ASSERT_EQ(0, munmap(map, huge * page));
	before = faults();
	EXPECT_EQ(0, wrong(buffer, map + huge * page, huge, (HUGES - 1) * huge, PROT_READ));
	EXPECT_EQ(self->enabled, faults() - before < huge);
	munmap(map, HUGES * huge * page);
}

/* Imports */

struct closer {
	int fd, dmabuf;
	uint32_t handle;
	int failed;
	atomic_bool stop;
};

static void *import_and_close(void *arg)
{
	struct closer *closer = arg;

	while (!atomic_load(&closer->stop)) {
		uint32_t handle;

		closer->failed += !!prime_import(closer->fd, closer->dmabuf, &handle);
		closer->failed += !!gem_close(closer->fd, handle);
	}
	return NULL;
}

/*
 * An import is mapped by its exporter. User space does not get the offset, but can guess it: it is
 * that of a buffer which was closed. Nothing bad may come of closing the last handle meanwhile.
 */
TEST_F_TIMEOUT(vgem_map, import_is_closed, 60)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = page };
	struct closer closer = { .fd = vgem_open() };
	int udmabuf = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	long mapped = 0, refused = 0, other = 0;
	pthread_t thread;
	uint32_t handle;
	int64_t offset, end;
	int memfd;
	char *map;

	if (udmabuf < 0 || kmsg < 0)
		SKIP(return, "no /dev/udmabuf, or no right to read the kernel's log");
	ASSERT_LE(0, closer.fd);
	memfd = memfd_create("vgem", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	ASSERT_LE(0, memfd);
	ASSERT_EQ(0, ftruncate(memfd, page));
	ASSERT_EQ(4, pwrite(memfd, "VGEM", 4, 0));
	ASSERT_EQ(0, fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK));
	create.memfd = memfd;
	closer.dmabuf = ioctl(udmabuf, UDMABUF_CREATE, &create);
	ASSERT_LE(0, closer.dmabuf);

	ASSERT_EQ(0, dumb_create(closer.fd, 1, &handle));
	offset = dumb_offset(closer.fd, handle);
	ASSERT_LT(0, offset);
	ASSERT_EQ(0, gem_close(closer.fd, handle));
	ASSERT_EQ(0, prime_import(closer.fd, closer.dmabuf, &handle));
	map = mmap(NULL, page, RW, MAP_SHARED, closer.fd, offset);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, memcmp(map, "VGEM", 4));
	/* It is its exporter's, so it outlives the handle. */
	ASSERT_EQ(0, gem_close(closer.fd, handle));
	EXPECT_EQ(0, memcmp(map, "VGEM", 4));
	munmap(map, page);

	lseek(kmsg, 0, SEEK_END);
	ASSERT_EQ(0, pthread_create(&thread, NULL, import_and_close, &closer));
	for (end = now() + 5 * NSEC_PER_SEC; now() < end;) {
		map = mmap(NULL, page, RW, MAP_SHARED, closer.fd, offset);
		if (map != MAP_FAILED) {
			mapped++;
			other += !!memcmp(map, "VGEM", 4);
			munmap(map, page);
		} else if (errno == EINVAL || errno == EACCES) {
			refused++;
		} else {
			other++;
		}
	}
	atomic_store(&closer.stop, true);
	pthread_join(thread, NULL);
	TH_LOG("mapped %ld times, refused %ld times", mapped, refused);
	EXPECT_LT(0, mapped);
	EXPECT_LT(0, refused);
	EXPECT_EQ(0, other);
	EXPECT_EQ(0, closer.failed);
	EXPECT_EQ(0, warnings(kmsg));
	close(closer.dmabuf);
	close(closer.fd);
	close(memfd);
	close(udmabuf);
	close(kmsg);
}

TEST_HARNESS_MAIN
