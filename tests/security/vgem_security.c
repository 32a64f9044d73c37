// SPDX-License-Identifier: GPL-2.0
/*
 * What a client without any privilege gets at: a user whom nobody knows, who may open
 * VGEM's nodes. Needs root, to become that user and to make a memory cgroup.
 */

#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "vgem_common.h"

#define NOBODY	65534
#define MB	(1024 * 1024L)

/* A word that looks like an address in the kernel. */
static bool kernel_address(uint64_t word)
{
	/* Where the kernel's half begins with page tables of 5 levels. */
	return word >= 0xff00000000000000 && word < 0xfffffffffffff000;
}

/* All of them, as udev would allow it to somebody. */
static void allow_nodes(void)
{
	chmod("/dev/dri", 0755);
	for (int i = 0; i < 64; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		chmod(path, 0666);
		snprintf(path, sizeof(path), "/dev/dri/renderD%d", 128 + i);
		chmod(path, 0666);
	}
}

static bool become_nobody(void)
{
	return !setgroups(0, NULL) && !setresgid(NOBODY, NOBODY, NOBODY) &&
	       !setresuid(NOBODY, NOBODY, NOBODY);
}

/* Somebody else is the master, as a compositor would be, and has a buffer. */
FIXTURE(nobody) {
	int master, card, render;
	uint32_t handle;
	int dmabuf;
	long page;
};

FIXTURE_SETUP(nobody)
{
	if (geteuid())
		SKIP(return, "only root can become somebody else");
	self->page = sysconf(_SC_PAGESIZE);
	self->master = vgem_open();
	if (self->master < 0)
		SKIP(return, "no VGEM device");
	ASSERT_EQ(0, dumb_create(self->master, 1, &self->handle));
	self->dmabuf = prime_export(self->master, self->handle);
	ASSERT_LE(0, self->dmabuf);
	allow_nodes();
	ASSERT_TRUE(become_nobody());
	self->card = vgem_open();
	ASSERT_LE(0, self->card);
	self->render = vgem_open_render();
	ASSERT_LE(0, self->render);
}

FIXTURE_TEARDOWN(nobody)
{
	close(self->render);
	close(self->card);
	close(self->dmabuf);
	close(self->master);
}

/* Ioctls */

static const char *outcome(int fd, int nr)
{
	int ret = do_ioctl(fd, DRM_IO(nr), NULL);

	return ret < 0 ? strerrorname_np(-ret) : "0";
}

/*
 * Each ioctl of each node, with an argument that is all 0, has the result that the table
 * says. What is not in the table is no ioctl.
 */
TEST_F(nobody, ioctls)
{
	const char *path = getenv("VGEM_IOCTLS") ?: "/share/expect/ioctls.txt";
	FILE *table = fopen(path, "re");
	char line[256], want[256][2][16];
	int nr, known = 0;

	ASSERT_NE(NULL, table) {
		TH_LOG("%s", path);
	}
	for (nr = 0; nr < 256; nr++) {
		strcpy(want[nr][0], "EINVAL");
		strcpy(want[nr][1], "EINVAL");
	}
	while (fgets(line, sizeof(line), table)) {
		char card[16], render[16];

		if (line[0] == '#' || line[0] == '\n')
			continue;
		ASSERT_EQ(3, sscanf(line, "%x %*s %15s %15s", &nr, card, render));
		ASSERT_TRUE(nr >= 0 && nr < 256);
		strcpy(want[nr][0], card);
		strcpy(want[nr][1], render);
		known++;
	}
	fclose(table);
	EXPECT_LT(50, known);
	for (nr = 0; nr < 256; nr++) {
		const char *card = outcome(self->card, nr), *render = outcome(self->render, nr);

		EXPECT_TRUE(!strcmp(want[nr][0], card) && !strcmp(want[nr][1], render)) {
			TH_LOG("%#04x: %s %s, not %s %s", nr, card, render, want[nr][0], want[nr][1]);
		}
	}
}

/*
 * With room for more than an ioctl has to say, and whichever way the argument goes, the
 * kernel says nothing that it should not: what is not told is as before, or 0.
 */
TEST_F(nobody, ioctls_tell_nothing)
{
	enum { WORDS = 512 };
	static uint64_t arg[WORDS];
	/* More than any ioctl of DRM takes. */
	const int most = 256 / sizeof(*arg);
	int fds[] = { self->card, self->render };
	unsigned int dir, nr, fill, i;

	for (dir = 1; dir < 4; dir++)
		for (nr = 0; nr < 256; nr++)
			for (fill = 0; fill < 4; fill++) {
				/* No ioctl makes use of such values: they are no handles or flags. */
				uint64_t word = fill & 1 ? 0x5a5a5a5a5a5a5a5a : 0;

				for (i = 0; i < WORDS; i++)
					arg[i] = word;
				do_ioctl(fds[fill >> 1], _IOC(dir, DRM_IOCTL_BASE, nr, sizeof(arg)),
					 arg);
				for (i = 0; i < WORDS; i++) {
					bool same = arg[i] == word;

					EXPECT_FALSE(kernel_address(arg[i])) {
						TH_LOG("%#x, direction %u, word %u: %#lx", nr, dir, i,
						       (long)arg[i]);
					}
					if (i < most)
						continue;
					EXPECT_TRUE(same || !arg[i]) {
						TH_LOG("%#x, direction %u, word %u: %#lx", nr, dir, i,
						       (long)arg[i]);
					}
				}
			}
}

/* What an ioctl that works writes, and no more. */
TEST_F(nobody, outputs)
{
	union {
		uint32_t words[16];
		struct drm_mode_create_dumb create;
		struct drm_mode_map_dumb map;
		struct drm_vgem_fence_attach attach;
		struct drm_prime_handle prime;
	} arg, was;
	uint32_t handle;

#define POISON()	memset(&arg, 0x5a, sizeof(arg))
#define ASK(request, ...)								\
	({										\
		was = arg;								\
		ASSERT_EQ(0, do_ioctl(self->card, request, &arg));			\
		const size_t out[] = { __VA_ARGS__ };					\
		for (size_t i = 0; i < ARRAY_SIZE(out); i++) {				\
			EXPECT_NE(was.words[out[i]], arg.words[out[i]]);		\
			was.words[out[i]] = arg.words[out[i]];				\
		}									\
		EXPECT_EQ(0, memcmp(&was, &arg, sizeof(arg))) {				\
			TH_LOG(#request);						\
		}									\
	})

	POISON();
	arg.create.width = self->page;
	arg.create.height = 1;
	arg.create.bpp = 8;
	arg.create.flags = 0;
	ASK(DRM_IOCTL_MODE_CREATE_DUMB, 4, 5, 6, 7);
	EXPECT_EQ(self->page, arg.create.pitch);
	EXPECT_EQ((uint64_t)self->page, arg.create.size);
	handle = arg.create.handle;

	POISON();
	arg.map.handle = handle;
	ASK(DRM_IOCTL_MODE_MAP_DUMB, 2, 3);
	/* A place in a file, and no address. */
	EXPECT_FALSE(kernel_address(arg.map.offset));

	POISON();
	arg.attach.handle = handle;
	arg.attach.flags = 0;
	arg.attach.pad = 0;
	ASK(DRM_IOCTL_VGEM_FENCE_ATTACH, 2);

	POISON();
	arg.prime.handle = handle;
	arg.prime.flags = DRM_CLOEXEC;
	ASK(DRM_IOCTL_PRIME_HANDLE_TO_FD, 2);
	close(arg.prime.fd);

	POISON();
	arg.prime.fd = self->dmabuf;
	ASK(DRM_IOCTL_PRIME_FD_TO_HANDLE, 0);
}

/* What /proc says of an open node. */
TEST_F(nobody, fdinfo_tells_nothing)
{
	char path[64], line[256], *word;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->card);
	file = fopen(path, "re");
	ASSERT_NE(NULL, file);
	while (fgets(line, sizeof(line), file))
		for (word = strtok(line, " \t\n"); word; word = strtok(NULL, " \t\n"))
			EXPECT_FALSE(kernel_address(strtoull(word, NULL, 16)));
	fclose(file);
}

/* Fences and handles of others */

TEST_F(nobody, ids_are_the_files_own)
{
	enum { FENCES = 100 };
	uint32_t ids[FENCES], most = 0, id;
	int i, file;
	int fds[] = { self->card, self->render };

	for (i = 0; i < FENCES; i++) {
		ASSERT_EQ(0, vgem_attach(self->master, self->handle, 0, &ids[i]));
		most = ids[i] > most ? ids[i] : most;
	}
	for (file = 0; file < 2; file++)
		for (id = 0; id <= most + 1000; id++)
			EXPECT_EQ(-ENOENT, vgem_signal(fds[file], id));
	EXPECT_FALSE(writable(self->dmabuf));
	/* Nor is there a buffer of theirs. */
	for (i = 0; i < 1000; i++)
		EXPECT_EQ(-ENOENT, vgem_attach(self->card, i, 0, &id));
	for (i = 0; i < FENCES; i++)
		EXPECT_EQ(0, vgem_signal(self->master, ids[i]));
}

/* Memory */

/* Whether all of it is 0; then it is not. */
static bool zero(char *memory, size_t size)
{
	bool all = true;

	for (size_t i = 0; i < size / 8; i++)
		all = all && !((uint64_t *)memory)[i];
	memset(memory, 0x5a, size);
	return all;
}

/* A buffer is 0 at first, whatever was in the memory before. */
TEST_F(nobody, buffers_are_zero)
{
	const long size = 256 * self->page;
	int round, dmabuf;
	uint32_t handle;
	int64_t offset;
	char *map;

	for (round = 0; round < 64; round++) {
		ASSERT_EQ(0, dumb_create(self->card, 256, &handle));
		offset = dumb_offset(self->card, handle);
		ASSERT_LE(0, offset);
		dmabuf = prime_export(self->card, handle);
		ASSERT_LE(0, dmabuf);
		/* Either way to map it. */
		map = round % 2 ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0) :
				  mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, self->card, offset);
		ASSERT_NE(MAP_FAILED, map);
		EXPECT_TRUE(zero(map, size));
		munmap(map, size);
		close(dmabuf);
		EXPECT_EQ(0, gem_close(self->card, handle));
	}
}

/* Nothing but a buffer can be mapped, and no more than there is of it. */
TEST_F(nobody, maps_are_bounded)
{
	const long page = self->page;
	uint32_t handle;
	int64_t offset;
	int dmabuf;

	ASSERT_EQ(0, dumb_create(self->card, 2, &handle));
	offset = dumb_offset(self->card, handle);
	ASSERT_LE(0, offset);
	dmabuf = prime_export(self->card, handle);
	ASSERT_LE(0, dmabuf);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 3 * page, PROT_READ, MAP_SHARED, self->card, offset));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 3 * page, PROT_READ, MAP_SHARED, dmabuf, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, dmabuf, page));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, page, PROT_READ, MAP_SHARED, self->card, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, page, PROT_READ, MAP_SHARED, self->card, offset + 2 * page));
	/* By the offset alone, a client that has no handle can't. */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, page, PROT_READ, MAP_SHARED, self->render, offset));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, page, PROT_READ, MAP_SHARED, self->master, offset));
	close(dmabuf);
}

/* Who uses up memory */

/* A client whose group may have so much memory. */
#define LIMIT	(4 * MB)

FIXTURE(limited) {
	char top[32], group[64];
};

/* What it makes without end: returns 0, or why it can't go on. */
FIXTURE_VARIANT(limited) {
	/* After so many it had its chance: they take more than the limit. */
	long most;
	bool fences, pages, files;
};

FIXTURE_VARIANT_ADD(limited, fences) { .most = 3 * LIMIT / 400, .fences = true };
FIXTURE_VARIANT_ADD(limited, buffers) { .most = 8 * LIMIT / 1000 };
FIXTURE_VARIANT_ADD(limited, mapped_buffers) { .most = 4 * LIMIT / (64 * 4096), .pages = true };
FIXTURE_VARIANT_ADD(limited, dmabufs) { .most = 8 * LIMIT / 1000, .files = true };

FIXTURE_SETUP(limited)
{
	char path[96], value[32];

	if (geteuid())
		SKIP(return, "only root can make a cgroup");
	strcpy(self->top, "/tmp/vgem-XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->top));
	if (mount("none", self->top, "cgroup2", 0, NULL)) {
		rmdir(self->top);
		SKIP(return, "no cgroup2");
	}
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", self->top);
	snprintf(self->group, sizeof(self->group), "%s/vgem-limited", self->top);
	if (write_file(path, "+memory") || (mkdir(self->group, 0755) && errno != EEXIST))
		SKIP(return, "cgroup2 has no memory controller");
	snprintf(path, sizeof(path), "%s/memory.max", self->group);
	snprintf(value, sizeof(value), "%ld", LIMIT);
	ASSERT_EQ(0, write_file(path, value));
	allow_nodes();
}

FIXTURE_TEARDOWN(limited)
{
	rmdir(self->group);
	umount(self->top);
	rmdir(self->top);
}

/* The offender is killed, or told so; nobody else is. */
TEST_F_TIMEOUT(limited, is_held, 300)
{
	struct drm_mode_create_dumb arg = { .width = 4096, .height = 64, .bpp = 8 };
	char path[96];
	int status;
	long made, killed;
	pid_t pid;
	struct {
		long made;
		int error;
	} *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, shared);
	shared->made = 0;
	snprintf(path, sizeof(path), "%s/cgroup.procs", self->group);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint32_t busy = 0;
		int fd, ret = 0;
		char *map;

		raise_nofile();
		if (write_file(path, "0") || !become_nobody())
			_exit(2);
		fd = vgem_open();
		if (fd < 0)
			_exit(2);
		while (!ret && shared->made < variant->most) {
			if (!variant->fences || shared->made % 200 == 0) {
				ret = do_ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &arg);
				busy = arg.handle;
			}
			if (!ret && variant->fences)
				ret = vgem_attach(fd, busy, 0, NULL);
			if (!ret && variant->files) {
				ret = prime_export(fd, arg.handle);
				ret = ret < 0 ? ret : 0;
			}
			if (!ret && variant->pages) {
				map = mmap(NULL, arg.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
					   dumb_offset(fd, arg.handle));
				if (map == MAP_FAILED)
					ret = -errno;
				else
					memset(map, 1, arg.size);
			}
			shared->made++;
		}
		shared->error = -ret;
		_exit(!ret);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	made = shared->made;
	snprintf(path, sizeof(path), "%s/memory.events", self->group);
	killed = read_number(path, "oom_kill ");
	snprintf(path, sizeof(path), "%s/memory.peak", self->group);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		TH_LOG("after %ld: %s", made, strerrorname_np(shared->error));
	else
		TH_LOG("after %ld: %s, with at most %ld KB", made,
		       WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "nothing happened",
		       read_number(path, "") / 1024);
	EXPECT_TRUE((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && killed == 1) ||
		    (WIFEXITED(status) && !WEXITSTATUS(status) &&
		     (shared->error == ENOMEM || shared->error == EMFILE || shared->error == ENOSPC)));
	/* The machine lives, and so does VGEM. */
	status = vgem_open();
	EXPECT_LE(0, status);
	close(status);
	munmap(shared, 4096);
}

TEST_HARNESS_MAIN
