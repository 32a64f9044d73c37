// SPDX-License-Identifier: GPL-2.0
/*
 * Lets the 1st, 2nd, ... allocation of a call fail, until there is none left that could,
 * and looks at what is left behind each time. Needs root, failslab and fail_page_alloc.
 *
 * user abstractions: all that /dev/faults (faults.rs) makes.
 * user vgem|rust_mockgpu FILE [CALL]: to load that driver from FILE, to open it, and its
 * ioctls, or just CALL.
 *
 * For each call, one line: its name, how many allocations failed, how often that made it
 * fail, how often it did without, its errors, and `good` or what is not.
 */

#define _GNU_SOURCE
#include <glob.h>
#include <linux/udmabuf.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "../left.h"
#include "rust_mockgpu.h"

#define ATTEMPT _IO('f', 2)

/* How often all allocations of a call fail in turn: what leaks shows that often. */
#define ROUNDS 16

#define PAGE 4096

static int failures;

/* The only call that is tried, if there is one. */
static const char *only;

/* What is wrong with the call that is tried, if anything. */
static char wrong[256];

#define WRONG(...)									\
	do {										\
		size_t len = strlen(wrong);						\
		if (len < sizeof(wrong) / 2)						\
			snprintf(wrong + len, sizeof(wrong) - len, "; " __VA_ARGS__);	\
	} while (0)

/* Allocations that fail; vgem_common.h has fail_nth(). */

static void prepare_failures(void)
{
	/* Also where the kernel could wait for memory, and without a word in its log. */
	static const char *const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/cache-filter", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
	};
	char path[96];

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", settings[i][0]);
		need(path, write_file(path, settings[i][1]));
	}
	fail_fd = need("fail-nth", open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC));
}

/* What there is of everything that can be counted at once. */
struct counts {
	long file, handle, dmabufs, module;
};

/* The driver that is tried, if there is one, and the client that its calls are for. */
static const char *module = "";
static int fd = -1;

static const char *module_file(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "/sys/module/%s/%s", module, name);
	return path;
}

static struct counts count(void)
{
	struct counts counts = {};
	uint32_t handle;

	/* The lowest ones that are free. */
	counts.file = need("dup", fcntl(0, F_DUPFD_CLOEXEC, 0));
	close(counts.file);
	if (fd >= 0) {
		need("CREATE_DUMB", dumb_create(fd, 1, &handle));
		need("GEM_CLOSE", gem_close(fd, handle));
		counts.handle = handle;
	}
	counts.dmabufs = read_number("/sys/kernel/debug/dma_buf/bufinfo", "Total ");
	counts.module = read_number(module_file("refcnt"), "");
	return counts;
}

static void compare_counts(const struct counts *a, const struct counts *b, int nth)
{
	if (a->file != b->file)
		WRONG("a file is left behind at %d", nth);
	if (a->handle != b->handle)
		WRONG("a handle is left behind at %d", nth);
	if (a->dmabufs != b->dmabufs)
		WRONG("%ld dma-bufs instead of %ld at %d", b->dmabufs, a->dmabufs, nth);
	if (a->module != b->module)
		WRONG("%ld users of the module instead of %ld at %d", b->module, a->module, nth);
}

/* The calls */

struct call {
	const char *name;
	/* What has to be there before, each time; does not fail. */
	void (*begin)(void);
	/* Returns 0, or -errno. */
	int (*call)(void);
	/* Undoes that, if it returned 0. */
	void (*undo)(void);
	/* Undoes what was there before. */
	void (*end)(void);
	/* The errors that it may have, besides ENOMEM. */
	int errors[2];
	/* What is 0 in its argument after an error, and not as before; and what may be anything. */
	size_t cleared_from, cleared_size, open_from, open_size;
	/* Something is wrong with it, which has to be found. */
	bool leaks;
	/* It takes long. */
	bool slow;
};

static const struct call *this_call;

static int try_once(const struct call *call, int nth, bool *injected)
{
	bool failed;
	int ret;

	this_call = call;
	if (call->begin)
		call->begin();
	fail_nth(nth);
	ret = call->call();
	failed = failed_nth();
	if (injected)
		*injected = failed;
	if (!ret && call->undo)
		call->undo();
	if (call->end)
		call->end();
	return ret;
}

/* Lets each allocation fail in turn, and returns how many there were. */
static int sweep(const struct call *call, int *failed, char errors[64])
{
	struct counts before = count(), after;
	bool injected = true;
	int nth, ret;

	for (nth = 1; injected && !*wrong; nth++) {
		ret = -try_once(call, nth, &injected);
		if (ret) {
			const char *name = strerrorname_np(ret);

			if (!injected)
				WRONG("%s without a failure", name);
			else if (ret != ENOMEM && ret != call->errors[0] && ret != call->errors[1])
				WRONG("%s at %d", name, nth);
			if (!strstr(errors, name))
				snprintf(errors + strlen(errors), 64 - strlen(errors), "%s%s",
					 *errors ? ", " : "", name);
			++*failed;
		}
		after = count();
		compare_counts(&before, &after, nth);
		/* If it takes long, the next one has to do, whose first allocations don't fail. */
		ret = call->slow ? 0 : -try_once(call, 0, NULL);
		if (ret)
			WRONG("%s in the call after %d", strerrorname_np(ret), nth);
	}
	return nth - 2;
}

static void try(const struct call *call)
{
	const long rounds = call->slow ? 1 : ROUNDS;
	static struct caches before, after;
	int allocations = 0, failed = 0;
	char errors[64] = "";
	const char *verdict;
	bool good;

	if (only && strcmp(call->name, only))
		return;

	wrong[0] = '\0';
	if (try_once(call, 0, NULL))
		WRONG("not even with memory");
	count_caches(&before);
	for (long round = 0; round < rounds && !*wrong; round++) {
		failed = 0;
		allocations = sweep(call, &failed, errors);
	}
	count_caches(&after);
	/* What one round leaves behind, kmemleak finds. */
	if (!call->slow)
		compare_caches(&before, &after, rounds, wrong, sizeof(wrong));

	good = !*wrong != call->leaks;
	failures += !good;
	verdict = *wrong ? wrong + 2 : "good";
	printf("%s\t%d\t%d\t%d\t%s\t%s%s\n", call->name, allocations, failed,
	       allocations - failed, *errors ? errors : "-",
	       !call->leaks ? "" : good ? "good, found: " : "not found: ", verdict);
}

/* The abstractions */

static int faults;
static long which;

static int nothing(void)
{
	return 0;
}

static int attempt(void)
{
	return ioctl(faults, ATTEMPT, which) < 0 ? -errno : 0;
}

static void abstractions(void)
{
	static const struct call calls[] = {
		{ "fence" },
		{ "fence with data" },
		{ "array" },
		{ "chain" },
		{ "merge" },
		{ "callback" },
		{ "sync file" },
		{ "reserve, add, get" },
		{ "lock two, reserve, add" },
		{ "sync object, point" },
		{ "timer in a box" },
		{ "XArray: insert, store" },
		{ "XArray: allocate indices" },
		/* faux_device_create() says no more than that it failed. */
		{ "faux device", .errors = { ENODEV } },
		/* And neither does shmem if there is no inode. */
		{ "buffers, mapped", .errors = { ENODEV, ENOSPC } },
		{ "DRM device, registered", .errors = { ENODEV } },
		{ "planted leak", .leaks = true },
	};
	const long count = sizeof(calls) / sizeof(calls[0]);

	faults = need("/dev/faults", open("/dev/faults", O_RDWR | O_CLOEXEC));
	if (ioctl(faults, ATTEMPT, count) >= 0 || errno != EDOM || ioctl(faults, ATTEMPT, count - 1)) {
		fprintf(stderr, "faults.rs has more or fewer than %ld\n", count);
		exit(1);
	}
	/* What is left by others. */
	try(&(struct call){ "nothing", .call = nothing });
	for (which = 0; which < count; which++) {
		struct call call = calls[which];

		call.call = attempt;
		try(&call);
	}
	close(faults);
}

/* Loading a driver */

static char *image;
static size_t image_size;

static int load(void)
{
	return syscall(SYS_init_module, image, image_size, "") ? -errno : 0;
}

static void unload(void)
{
	need("unload", syscall(SYS_delete_module, module, O_NONBLOCK));
}

static void not_loaded(void)
{
	if (!access(module_file(""), F_OK))
		WRONG("it is loaded");
}

static void read_image(const char *path)
{
	int file = need(path, open(path, O_RDONLY | O_CLOEXEC));
	struct stat stat;

	need(path, fstat(file, &stat));
	image_size = stat.st_size;
	image = malloc(image_size);
	if (!image || read(file, image, image_size) != (ssize_t)image_size)
		die(path);
	close(file);
}

/* What the calls have in common */

static char node[64], render_node[64];
static int other, dmabuf, sync_file, got;
static uint32_t handle, got_handle, id;
static int64_t offset;
/* What the last call returned. */
static int last;

/* An ioctl, whose argument has to be as before if it fails. */
static int ask(int fd, unsigned long request, void *arg)
{
	size_t size = _IOC_SIZE(request);
	char before[256];

	memcpy(before, arg, size);
	last = ioctl(fd, request, arg) < 0 ? -errno : 0;
	memset(before + this_call->cleared_from, 0, this_call->cleared_size);
	memcpy(before + this_call->open_from, (char *)arg + this_call->open_from,
	       this_call->open_size);
	if (last && memcmp(before, arg, size))
		WRONG("an error changed the argument");
	return last;
}

static int open_path(const char *path)
{
	got = open(path, O_RDWR | O_CLOEXEC);
	return got < 0 ? -errno : 0;
}

static void close_got(void)
{
	close(got);
}

static void close_got_handle(void)
{
	need("GEM_CLOSE", gem_close(fd, got_handle));
}

static void begin_other(void)
{
	other = need(node, open(node, O_RDWR | O_CLOEXEC));
}

static void end_other(void)
{
	close(other);
}

static void begin_buffer(void)
{
	need("CREATE_DUMB", dumb_create(fd, 3, &handle));
}

static void end_buffer(void)
{
	need("GEM_CLOSE", gem_close(fd, handle));
}

/* After a call that closes the handle, if it works. */
static void end_closed(void)
{
	if (last)
		end_buffer();
}

static void begin_dmabuf(void)
{
	begin_buffer();
	dmabuf = need("PRIME_HANDLE_TO_FD", prime_export(fd, handle));
}

static void end_dmabuf(void)
{
	close(dmabuf);
	end_buffer();
}

/* Another client's buffer. */
static void begin_others(void)
{
	begin_other();
	need("CREATE_DUMB", dumb_create(other, 3, &handle));
	dmabuf = need("PRIME_HANDLE_TO_FD", prime_export(other, handle));
}

static void end_others(void)
{
	close(dmabuf);
	end_other();
}

static void begin_fence(void)
{
	begin_dmabuf();
	need("FENCE_ATTACH", vgem_attach(fd, handle, 0, &id));
}

static void end_fence(void)
{
	need("FENCE_SIGNAL", vgem_signal(fd, id));
	end_dmabuf();
}

static void begin_sync_file(void)
{
	begin_fence();
	sync_file = need("EXPORT_SYNC_FILE", export_sync_file(dmabuf, DMA_BUF_SYNC_RW));
}

static void end_sync_file(void)
{
	close(sync_file);
	end_fence();
}

/* VGEM: what all DRM drivers have */

static int open_card(void)
{
	return open_path(node);
}

static int open_render(void)
{
	return open_path(render_node);
}

static int version(void)
{
	static char name[16], date[16], desc[32];
	struct drm_version arg = {
		.name = name, .name_len = sizeof(name),
		.date = date, .date_len = sizeof(date),
		.desc = desc, .desc_len = sizeof(desc),
	};

	return ask(fd, DRM_IOCTL_VERSION, &arg);
}

static int get_unique(void)
{
	static char unique[32];
	struct drm_unique arg = { .unique = unique, .unique_len = sizeof(unique) };

	return ask(fd, DRM_IOCTL_GET_UNIQUE, &arg);
}

static int get_magic(void)
{
	struct drm_auth arg = {};

	return ask(other, DRM_IOCTL_GET_MAGIC, &arg);
}

static struct drm_auth magic;

static void begin_magic(void)
{
	begin_other();
	need("GET_MAGIC", do_ioctl(other, DRM_IOCTL_GET_MAGIC, &magic));
}

static int auth_magic(void)
{
	return ask(fd, DRM_IOCTL_AUTH_MAGIC, &magic);
}

static int get_client(void)
{
	struct drm_client arg = {};

	return ask(fd, DRM_IOCTL_GET_CLIENT, &arg);
}

static int get_stats(void)
{
	struct drm_stats arg = {};

	return ask(fd, DRM_IOCTL_GET_STATS, &arg);
}

static int get_cap(void)
{
	struct drm_get_cap arg = { .capability = DRM_CAP_PRIME };

	return ask(fd, DRM_IOCTL_GET_CAP, &arg);
}

static int set_version(void)
{
	struct drm_set_version arg = { 1, 4, 1, 0 };

	return ask(fd, DRM_IOCTL_SET_VERSION, &arg);
}

static int set_client_name(void)
{
	struct drm_set_client_name arg = { 4, (uintptr_t)"name" };

	return ask(fd, DRM_IOCTL_SET_CLIENT_NAME, &arg);
}

/* Another client becomes the master, for the first time. */
static void begin_set_master(void)
{
	/* Opened beside a master, so that it has never been one. */
	begin_other();
	need("DROP_MASTER", do_ioctl(fd, DRM_IOCTL_DROP_MASTER, NULL));
}

static int set_master(void)
{
	last = ioctl(other, DRM_IOCTL_SET_MASTER) ? -errno : 0;
	return last;
}

static void end_set_master(void)
{
	end_other();
	need("SET_MASTER", do_ioctl(fd, DRM_IOCTL_SET_MASTER, NULL));
}

static int drop_master(void)
{
	last = ioctl(fd, DRM_IOCTL_DROP_MASTER) ? -errno : 0;
	return last;
}

static void end_drop_master(void)
{
	need("SET_MASTER", do_ioctl(fd, DRM_IOCTL_SET_MASTER, NULL));
}

/* VGEM: buffers */

static int create_dumb(void)
{
	struct drm_mode_create_dumb arg = {
		.width = PAGE, .height = 3, .bpp = 8,
		.handle = VGEM_UNTOUCHED, .pitch = VGEM_UNTOUCHED, .size = VGEM_UNTOUCHED,
	};
	int ret = ask(fd, DRM_IOCTL_MODE_CREATE_DUMB, &arg);

	got_handle = arg.handle;
	return ret;
}

static int map_dumb(void)
{
	struct drm_mode_map_dumb arg = { .handle = handle, .offset = VGEM_UNTOUCHED };

	return ask(fd, DRM_IOCTL_MODE_MAP_DUMB, &arg);
}

static int destroy_dumb(void)
{
	struct drm_mode_destroy_dumb arg = { .handle = handle };

	return ask(fd, DRM_IOCTL_MODE_DESTROY_DUMB, &arg);
}

static int close_handle(void)
{
	struct drm_gem_close arg = { .handle = handle };

	return ask(fd, DRM_IOCTL_GEM_CLOSE, &arg);
}

static int flink(void)
{
	struct drm_gem_flink arg = { .handle = handle, .name = VGEM_UNTOUCHED };

	return ask(fd, DRM_IOCTL_GEM_FLINK, &arg);
}

static uint32_t name;

static void begin_named(void)
{
	struct drm_gem_flink arg;

	begin_others();
	arg.handle = handle;
	need("GEM_FLINK", do_ioctl(other, DRM_IOCTL_GEM_FLINK, &arg));
	name = arg.name;
}

static int open_name(void)
{
	struct drm_gem_open arg = { .name = name, .handle = VGEM_UNTOUCHED, .size = VGEM_UNTOUCHED };
	int ret = ask(fd, DRM_IOCTL_GEM_OPEN, &arg);

	got_handle = arg.handle;
	return ret;
}

static int handle_to_fd(void)
{
	struct drm_prime_handle arg = {
		.handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR, .fd = VGEM_UNTOUCHED,
	};
	int ret = ask(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &arg);

	got = arg.fd;
	return ret;
}

static int fd_to_handle(void)
{
	struct drm_prime_handle arg = { .fd = dmabuf, .handle = VGEM_UNTOUCHED };
	int ret = ask(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &arg);

	got_handle = arg.handle;
	return ret;
}

/* A buffer of another driver. */
static void begin_foreign(void)
{
	struct udmabuf_create arg = { .size = 3 * PAGE, .flags = UDMABUF_FLAGS_CLOEXEC };
	int device = need("/dev/udmabuf", open("/dev/udmabuf", O_RDWR | O_CLOEXEC));
	int memory = need("memfd", memfd_create("faults", MFD_ALLOW_SEALING | MFD_CLOEXEC));

	need("memfd", ftruncate(memory, 3 * PAGE));
	need("memfd", fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK));
	arg.memfd = memory;
	dmabuf = need("UDMABUF_CREATE", ioctl(device, UDMABUF_CREATE, &arg));
	close(memory);
	close(device);
}

static void end_foreign(void)
{
	close(dmabuf);
}

static char *mapped;

/* Maps and uses all pages. */
static int map_file(int file, off_t offset)
{
	mapped = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, offset);
	if (mapped == MAP_FAILED)
		return -errno;
	for (int i = 0; i < 3; i++)
		mapped[i * PAGE] = 1;
	return 0;
}

static void begin_map(void)
{
	begin_buffer();
	offset = need("MAP_DUMB", dumb_offset(fd, handle));
}

static int map_card(void)
{
	return map_file(fd, offset);
}

static int map_dmabuf(void)
{
	return map_file(dmabuf, 0);
}

static void unmap(void)
{
	munmap(mapped, 3 * PAGE);
}

/* VGEM: fences */

static int attach(void)
{
	struct drm_vgem_fence_attach arg = {
		.handle = handle, .flags = VGEM_FENCE_WRITE, .out_fence = VGEM_UNTOUCHED,
	};
	int ret = ask(other, DRM_IOCTL_VGEM_FENCE_ATTACH, &arg);

	id = arg.out_fence;
	return ret;
}

/* Without a fence nobody waits, and with one everybody. */
static void end_attach(void)
{
	if (last ? !writable(dmabuf) : readable(dmabuf))
		WRONG("%s", last ? "the buffer is busy after an error" : "the buffer is idle");
	if (!last)
		need("FENCE_SIGNAL", vgem_signal(other, id));
	end_others();
}

/* A client that has as many fences as are in one block. No fence has the ID 0. */
static void begin_block(void)
{
	uint32_t busy;

	begin_others();
	need("CREATE_DUMB", dumb_create(other, 1, &busy));
	for (int i = 0; i < 31; i++)
		need("FENCE_ATTACH", vgem_attach(other, busy, 0, NULL));
}

static int signal_fence(void)
{
	struct drm_vgem_fence_signal arg = { .fence = id };

	return ask(fd, DRM_IOCTL_VGEM_FENCE_SIGNAL, &arg);
}

/* After a call that signals it, if it works. */
static void end_signalled(void)
{
	if (last)
		end_fence();
	else
		end_dmabuf();
}

/* A client whose fences are all on its buffer. */
static void begin_busy(void)
{
	begin_others();
	for (int i = 0; i < 32; i++)
		need("FENCE_ATTACH", vgem_attach(other, handle, 0, NULL));
}

static int close_other(void)
{
	return close(other) ? -errno : 0;
}

static void end_dmabuf_alone(void)
{
	if (!writable(dmabuf))
		WRONG("the buffer is busy without the client");
	close(dmabuf);
}

/* VGEM: dma-bufs and sync files */

static int sync_start_end(void)
{
	struct dma_buf_sync arg = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };
	int ret = ask(dmabuf, DMA_BUF_IOCTL_SYNC, &arg);

	if (ret)
		return ret;
	arg.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
	return ask(dmabuf, DMA_BUF_IOCTL_SYNC, &arg);
}

static int set_name(void)
{
	return ioctl(dmabuf, DMA_BUF_SET_NAME, "faults") ? -errno : 0;
}

static int export(void)
{
	struct dma_buf_export_sync_file arg = { .flags = DMA_BUF_SYNC_RW, .fd = VGEM_UNTOUCHED };
	int ret = ask(dmabuf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &arg);

	got = arg.fd;
	return ret;
}

/* A fence of one buffer, and a buffer with none. */
static void begin_import(void)
{
	begin_sync_file();
	need("CREATE_DUMB", dumb_create(fd, 1, &got_handle));
	got = need("PRIME_HANDLE_TO_FD", prime_export(fd, got_handle));
}

static int import(void)
{
	struct dma_buf_import_sync_file arg = { .flags = DMA_BUF_SYNC_RW, .fd = sync_file };

	return ask(got, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &arg);
}

static void end_import(void)
{
	if (last ? !writable(got) : readable(got))
		WRONG("%s", last ? "the buffer is busy after an error" : "the buffer is idle");
	close_got();
	close_got_handle();
	end_sync_file();
}

static int merge(void)
{
	struct sync_merge_data arg = { .name = "faults", .fd2 = sync_file, .fence = VGEM_UNTOUCHED };
	int ret = ask(sync_file, SYNC_IOC_MERGE, &arg);

	got = arg.fence;
	return ret;
}

static int file_info(void)
{
	struct sync_fence_info fence;
	struct sync_file_info arg = { .num_fences = 1, .sync_fence_info = (uintptr_t)&fence };

	return ask(sync_file, SYNC_IOC_FILE_INFO, &arg);
}

static int poll_both(void)
{
	struct pollfd files[] = { { dmabuf, POLLOUT, 0 }, { sync_file, POLLIN, 0 } };

	return poll(files, 2, 0) < 0 ? -errno : 0;
}

static const struct call vgem_calls[] = {
	{ "open", NULL, open_card, close_got },
	{ "open the render node", NULL, open_render, close_got },
	{ "VERSION", NULL, version },
	{ "GET_UNIQUE", NULL, get_unique },
	{ "GET_MAGIC", begin_other, get_magic, NULL, end_other },
	{ "AUTH_MAGIC", begin_magic, auth_magic, NULL, end_other },
	{ "GET_CLIENT", NULL, get_client },
	{ "GET_STATS", NULL, get_stats },
	{ "GET_CAP", NULL, get_cap },
	{ "SET_VERSION", NULL, set_version },
	{ "SET_CLIENT_NAME", NULL, set_client_name },
	{ "SET_MASTER", begin_set_master, set_master, NULL, end_set_master },
	{ "DROP_MASTER", NULL, drop_master, end_drop_master },
	/* shmem has no inode. */
	{ "CREATE_DUMB", NULL, create_dumb, close_got_handle, .errors = { ENOSPC },
	  .cleared_from = offsetof(struct drm_mode_create_dumb, handle),
	  .cleared_size = 16 },
	{ "MAP_DUMB", begin_buffer, map_dumb, NULL, end_buffer },
	{ "DESTROY_DUMB", begin_buffer, destroy_dumb, NULL, end_closed },
	{ "GEM_CLOSE", begin_buffer, close_handle, NULL, end_closed },
	{ "GEM_FLINK", begin_buffer, flink, NULL, end_buffer },
	{ "GEM_OPEN", begin_named, open_name, close_got_handle, end_others },
	{ "PRIME_HANDLE_TO_FD", begin_buffer, handle_to_fd, close_got, end_buffer },
	/* DRM's core may have made the handle before it fails. */
	{ "PRIME_FD_TO_HANDLE", begin_others, fd_to_handle, close_got_handle, end_others,
	  .open_from = offsetof(struct drm_prime_handle, handle), .open_size = 4 },
	{ "PRIME_FD_TO_HANDLE, foreign", begin_foreign, fd_to_handle, close_got_handle,
	  end_foreign,
	  .open_from = offsetof(struct drm_prime_handle, handle), .open_size = 4 },
	{ "mmap", begin_map, map_card, unmap, end_buffer },
	{ "mmap of the dma-buf", begin_dmabuf, map_dmabuf, unmap, end_dmabuf },
	{ "FENCE_ATTACH, the first", begin_others, attach, NULL, end_attach },
	{ "FENCE_ATTACH, the 32nd", begin_block, attach, NULL, end_attach },
	{ "FENCE_SIGNAL", begin_fence, signal_fence, NULL, end_signalled },
	{ "close with 32 fences", begin_busy, close_other, NULL, end_dmabuf_alone },
	{ "SYNC", begin_dmabuf, sync_start_end, NULL, end_dmabuf },
	{ "SET_NAME", begin_dmabuf, set_name, NULL, end_dmabuf },
	{ "EXPORT_SYNC_FILE", begin_fence, export, close_got, end_fence },
	{ "IMPORT_SYNC_FILE", begin_import, import, NULL, end_import },
	{ "MERGE", begin_sync_file, merge, close_got, end_sync_file },
	{ "FILE_INFO", begin_sync_file, file_info, NULL, end_sync_file },
	{ "poll", begin_sync_file, poll_both, NULL, end_sync_file },
	{ }
};

/* The mock GPU */

/* Longer than the watchdog, which ends a job after half a second, lets it run. */
#define HANG	(1000 * NSEC_PER_SEC)

static int create(void)
{
	struct mockgpu_create arg = { .size = 3 * PAGE, .handle = VGEM_UNTOUCHED };
	int ret = ask(fd, DRM_IOCTL_MOCKGPU_CREATE, &arg);

	got_handle = arg.handle;
	return ret;
}

/* A job of another client that writes to its buffer. */
static void begin_job(int64_t duration)
{
	struct mockgpu_buffer buffer = { .flags = MOCKGPU_BUFFER_WRITE };
	struct mockgpu_submit arg = {
		.buffers = (uintptr_t)&buffer, .buffer_count = 1,
		.flags = MOCKGPU_SUBMIT_SYNC_FILE, .duration_ns = duration,
	};

	begin_others();
	buffer.handle = handle;
	need("SUBMIT", do_ioctl(other, DRM_IOCTL_MOCKGPU_SUBMIT, &arg));
	sync_file = arg.sync_file;
}

static void begin_short(void)
{
	begin_job(NSEC_PER_MSEC);
}

static void begin_hung(void)
{
	begin_job(HANG);
}

static int wait_buffer(void)
{
	struct mockgpu_wait arg = { .handle = handle, .timeout_ns = INT64_MAX };

	return ask(other, DRM_IOCTL_MOCKGPU_WAIT, &arg);
}

static void end_job(void)
{
	close(sync_file);
	end_others();
}

static void end_canceled(void)
{
	/* It is canceled, unless the watchdog came first. */
	if (sync_file_status(sync_file) >= 0)
		WRONG("a job has not failed");
	close(sync_file);
	end_dmabuf_alone();
}

/* The buffers of a job: that of another job, and two that are idle. */
static uint32_t buffers[3];

/* With the fence of that job, with a point of it, and with none. */
static uint32_t syncobjs[3];

static void begin_submit(void)
{
	begin_hung();
	need("PRIME_FD_TO_HANDLE", prime_import(fd, dmabuf, &buffers[0]));
	need("CREATE_DUMB", dumb_create(fd, 1, &buffers[1]));
	need("CREATE_DUMB", dumb_create(fd, 1, &buffers[2]));

	for (int i = 0; i < 3; i++) {
		struct drm_syncobj_create object = {};
		struct drm_syncobj_handle import = {
			.flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE,
			.fd = sync_file, .point = i,
		};

		need("SYNCOBJ_CREATE", do_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &object));
		syncobjs[i] = object.handle;
		import.handle = object.handle;
		if (i == 1)
			import.flags |= DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_TIMELINE;
		if (i < 2)
			need("import", do_ioctl(fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &import));
	}
}

static int submit(void)
{
	const struct mockgpu_buffer uses[] = {
		{ buffers[0], MOCKGPU_BUFFER_WRITE }, { buffers[1], MOCKGPU_BUFFER_WRITE },
		{ buffers[2], 0 },
	};
	const struct mockgpu_sync waits[] = {
		{ MOCKGPU_SYNC_FILE, sync_file, 0 }, { MOCKGPU_SYNC_OBJ, syncobjs[0], 0 },
		{ MOCKGPU_SYNC_OBJ, syncobjs[1], 1 },
	};
	const struct mockgpu_sync signals[] = {
		{ MOCKGPU_SYNC_OBJ, syncobjs[1], 2 }, { MOCKGPU_SYNC_OBJ, syncobjs[2], 0 },
	};
	struct mockgpu_submit arg = {
		.buffers = (uintptr_t)uses, .buffer_count = 3,
		.waits = (uintptr_t)waits, .wait_count = 3,
		.signals = (uintptr_t)signals, .signal_count = 2,
		.flags = MOCKGPU_SUBMIT_SYNC_FILE, .sync_file = VGEM_UNTOUCHED,
	};
	int ret = ask(fd, DRM_IOCTL_MOCKGPU_SUBMIT, &arg);

	got = arg.sync_file;
	return ret;
}

/* Looks whether the buffers, from the first one on, and the sync objects are as they should be. */
static void check_submit(int first, int expected, const char *when)
{
	for (int i = first; i < 3; i++) {
		struct mockgpu_wait arg = { .handle = buffers[i], .flags = MOCKGPU_BUFFER_WRITE };

		if (do_ioctl(fd, DRM_IOCTL_MOCKGPU_WAIT, &arg))
			WRONG("buffer %d is busy %s", i, when);
	}
	for (int i = 1; i < 3; i++) {
		uint64_t point = i == 1 ? 2 : 0;
		struct drm_syncobj_timeline_wait arg = {
			.handles = (uintptr_t)&syncobjs[i], .points = (uintptr_t)&point,
			.count_handles = 1,
		};
		int ret = do_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &arg);

		if (ret != expected)
			WRONG("%s of sync object %d %s", ret ? strerrorname_np(-ret) : "a fence",
			      i, when);
	}
}

/* After an error, no fence is left; without one, or the next time, the job completes. */
static void end_submit(void)
{
	if (last) {
		check_submit(1, -EINVAL, "after an error");
		need("SUBMIT", submit());
	}
	need("close", close_other());
	if (poll_fd(got, POLLIN, 10000) != POLLIN || sync_file_status(got) != 1)
		WRONG("a job does not complete");
	check_submit(0, 0, "after the job");

	for (int i = 0; i < 3; i++) {
		struct drm_syncobj_destroy object = { .handle = syncobjs[i] };

		need("SYNCOBJ_DESTROY", do_ioctl(fd, DRM_IOCTL_SYNCOBJ_DESTROY, &object));
		need("GEM_CLOSE", gem_close(fd, buffers[i]));
	}
	close_got();
	close(sync_file);
	close(dmabuf);
}

static const struct call mockgpu_calls[] = {
	{ "open", NULL, open_card, close_got },
	{ "open the render node", NULL, open_render, close_got },
	/* shmem has no inode. */
	{ "CREATE", NULL, create, close_got_handle, .errors = { ENOSPC } },
	{ "SUBMIT", begin_submit, submit, NULL, end_submit },
	{ "WAIT", begin_short, wait_buffer, NULL, end_job },
	{ "close with a job", begin_hung, close_other, NULL, end_canceled },
	{ }
};

/* Opens the driver's node of that kind, and says which it is. */
static int find(const char *kind, char path[64])
{
	char pattern[64];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "/sys/devices/faux/%s/drm/%s*", module, kind);
	if (glob(pattern, 0, NULL, &found))
		die(pattern);
	snprintf(path, 64, "/dev/dri/%s", strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	return need(path, open(path, O_RDWR | O_CLOEXEC));
}

/* Tries all calls, or the one that the arguments name. */
static void driver(char **argv, const struct call *calls)
{
	static const struct call loading = {
		"load the module", NULL, load, unload, not_loaded,
		/* faux_device_create() says no more than that it failed. */
		.errors = { ENODEV },
		.slow = true,
	};

	module = argv[1];
	only = argv[3];
	read_image(argv[2]);
	try(&loading);

	need("load", load());
	close(find("render", render_node));
	fd = find("card", node);
	for (; calls->name; calls++)
		try(calls);
	close(fd);
	fd = -1;
	unload();
}

int main(int argc, char **argv)
{
	const bool drive = argc == 3 || argc == 4;

	setvbuf(stdout, NULL, _IOLBF, 0);
	prepare_failures();
	if (argc == 2 && !strcmp(argv[1], "abstractions")) {
		abstractions();
	} else if (drive && !strcmp(argv[1], "vgem")) {
		driver(argv, vgem_calls);
	} else if (drive && !strcmp(argv[1], "rust_mockgpu")) {
		driver(argv, mockgpu_calls);
	} else {
		fprintf(stderr, "user abstractions, or user vgem|rust_mockgpu FILE [CALL]\n");
		return 2;
	}
	return !!failures;
}
