// SPDX-License-Identifier: GPL-2.0
/*
 * Measures what VGEM's user space calls take, and prints a line for each:
 *
 *	ROW <tab> X <tab> NANOSECONDS <tab> CALLS
 *
 * a call. X is what the row varies: fences, handles, threads, bytes. Where the clock
 * counts instructions, a nanosecond is one.
 *
 * client [-m MAX] [ROW...]: only the rows whose names begin with one of these, and X no
 * larger than MAX.
 */

#include <pthread.h>
#include <sys/mman.h>

#include "vgem.h"

/* How often each row is measured. The least counts, as what others do only adds. */
#define RUNS 3

static char **wanted;
static unsigned long max = 1000000;

/*
 * How many calls make a run. What is counted, rather than timed, is to be the same each
 * time, so that it goes on for long: the allocator and RCU put off what they have to do
 * to some later call.
 */
static int many(int calls)
{
	return max > 100000 ? 8 * calls : calls;
}

/*
 * What is one call with much to do is different each time, and rarely the least: some of
 * what it gives back is freed meanwhile. The middle counts.
 */
#define CLOSES (max > 100000 ? 9 : RUNS)

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t middle_of(uint64_t *took, int count)
{
	qsort(took, count, sizeof(*took), by_size);
	return took[count / 2];
}

/* Is the row wanted? */
static int want(const char *row)
{
	if (!*wanted)
		return 1;
	for (char **w = wanted; row && *w; w++)
		if (!strncmp(row, *w, strlen(*w)))
			return 1;
	return 0;
}

static void keep_least(uint64_t *least, uint64_t took)
{
	if (!*least || took < *least)
		*least = took;
}

/* Measures what is done so often. */
#define measure(row, x, calls, what)					\
	do {								\
		const int _calls = (calls);				\
		uint64_t least = 0;					\
									\
		for (int run = 0; run < RUNS; run++) {			\
			uint64_t start = begin(MARK_FIRST);		\
									\
			for (int i = 0; i < _calls; i++) {		\
				what;					\
			}						\
			keep_least(&least, now(MARK_NOTHING) - start);	\
		}							\
		print(row, x, least, _calls, RUNS);			\
	} while (0)

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

static void get_cap(const char *const *row)
{
	struct drm_get_cap arg = { .capability = DRM_CAP_DUMB_BUFFER };
	int fd = open_device();

	measure(*row, 1, 20000, ioctl(fd, DRM_IOCTL_GET_CAP, &arg));
	close(fd);
}

static void signal_unknown(const char *const *row)
{
	struct drm_vgem_fence_signal arg = { .fence = 12345 };
	int fd = open_device();

	measure(*row, 1, 20000, ioctl(fd, DRM_IOCTL_VGEM_FENCE_SIGNAL, &arg));
	close(fd);
}

/*
 * Both, apart, on buffers that have up to 8 live fences: all rounds count, as each finds
 * what the one before has left.
 */
static void attach_signal_apart(const char *const *row)
{
	enum { BUFFERS = 256, EACH = 8 };
	const int rounds = many(10);
	static uint32_t handles[BUFFERS], fences[BUFFERS * EACH];
	uint64_t attaching = 0, signalling = 0;
	int fd = open_device();

	for (int i = 0; i < BUFFERS; i++)
		handles[i] = create(fd, 1);
	for (int round = 0; round < rounds; round++) {
		uint64_t start = begin(MARK_FIRST), middle;

		for (int i = 0; i < BUFFERS * EACH; i++)
			fences[i] = attach(fd, handles[i % BUFFERS]);
		middle = now(MARK_SECOND);
		for (int i = 0; i < BUFFERS * EACH; i++)
			sig(fd, fences[i]);
		attaching += middle - start;
		signalling += now(MARK_NOTHING) - middle;
	}
	print(row[0], 1, attaching, BUFFERS * EACH * rounds, 1);
	print(row[1], 1, signalling, BUFFERS * EACH * rounds, 1);
	close(fd);
}

static void pairs(int fd, uint32_t handle, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++)
		sig(fd, attach(fd, handle));
}

/* Prints what a pair takes, after a few that make memory of others theirs. */
static void measure_pairs(const char *row, unsigned long x, int fd, uint32_t handle)
{
	pairs(fd, handle, 100);
	measure(row, x, many(5000), sig(fd, attach(fd, handle)));
}

static void fences_per_buffer(const char *const *row)
{
	static const int counts[] = { 1, 8, 64 };

	for (int c = 0; c < 3; c++) {
		int fd = open_device();
		uint32_t handle = create(fd, 1);

		for (int i = 1; i < counts[c]; i++)
			attach(fd, handle);
		measure_pairs(*row, counts[c], fd, handle);
		close(fd);
	}
}

static void fences_per_file(const char *const *row)
{
	for (unsigned long count = 1; count <= max; count *= 10) {
		int fd = open_device();
		uint32_t handle = create(fd, 1);

		live(fd, count - 1);
		measure_pairs(*row, count, fd, handle);
		close(fd);
	}
}

static void create_destroy(const char *const *row)
{
	int fd = open_device();

	/* So many that it does not matter how many of them RCU frees later. */
	measure(*row, 1, many(30000), destroy(fd, create(fd, 1)));
	close(fd);
}

/* SIGNAL has no buffer, so this is what finding it takes, and ATTACH with -EBUSY. */
static void lookup(const char *const *row)
{
	for (unsigned long count = 1; count <= max && count <= 100000; count *= 10) {
		int fd = open_device();
		uint32_t handle = create(fd, 1);
		struct drm_vgem_fence_attach arg = { .flags = VGEM_FENCE_WRITE };

		for (unsigned long i = 1; i < count; i++)
			create(fd, 1);
		attach(fd, handle);
		arg.handle = handle;
		measure(*row, count, many(5000),
			if (!ioctl(fd, DRM_IOCTL_VGEM_FENCE_ATTACH, &arg) || errno != EBUSY)
				fail("FENCE_ATTACH"));
		close(fd);
	}
}

static void prime(const char *const *row)
{
	enum { BUFFERS = 500, ROUNDS = 4 };
	static struct drm_prime_handle of_a[BUFFERS], of_b[BUFFERS];
	int a = open_device(), b = open_device();
	uint64_t exporting = 0, importing = 0;

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start, middle;

		for (int i = 0; i < BUFFERS; i++)
			of_a[i].handle = create(a, 1);
		start = begin(MARK_FIRST);
		for (int i = 0; i < BUFFERS; i++)
			of_b[i].fd = prime_export(a, of_a[i].handle);
		middle = now(MARK_SECOND);
		for (int i = 0; i < BUFFERS; i++)
			if (ioctl(b, DRM_IOCTL_PRIME_FD_TO_HANDLE, &of_b[i]))
				fail("PRIME_FD_TO_HANDLE");
		keep_least(&importing, now(MARK_NOTHING) - middle);
		keep_least(&exporting, middle - start);
		for (int i = 0; i < BUFFERS; i++) {
			destroy(b, of_b[i].handle);
			close(of_b[i].fd);
			destroy(a, of_a[i].handle);
		}
	}
	print(row[0], 1, exporting, BUFFERS, ROUNDS);
	print(row[1], 1, importing, BUFFERS, ROUNDS);
	close(a);
	close(b);
}

static void export_and_close(int buf)
{
	struct dma_buf_export_sync_file arg = { .flags = DMA_BUF_SYNC_RW };

	if (ioctl(buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &arg))
		fail("EXPORT_SYNC_FILE");
	close(arg.fd);
}

static void sync_file(const char *const *row)
{
	int fd = open_device();
	uint32_t handle = create(fd, 1);
	int buf = prime_export(fd, handle);

	attach(fd, handle);
	measure(*row, 1, 3000, export_and_close(buf));
	close(buf);
	close(fd);
}

static void open_close(const char *const *row)
{
	measure(*row, 1, many(2000), close(open_device()));
}

/* The whole close, not a call: what it costs that there were this many fences. */
static void close_signaled(const char *const *row)
{
	for (unsigned long count = 1; count <= max; count *= 10) {
		/* So many take long. */
		int runs = count > 100000 ? 1 : CLOSES;
		uint64_t took[CLOSES];

		for (int run = 0; run < runs; run++) {
			int fd = open_device();
			uint64_t start;

			pairs(fd, create(fd, 1), count);
			start = begin(MARK_FIRST);
			close(fd);
			took[run] = now(MARK_NOTHING) - start;
		}
		print(*row, count, middle_of(took, runs), 1, runs);
	}
}

static void close_live(const char *const *row)
{
	int keep = open_device();

	for (unsigned long count = 1; count <= max && count <= 100000; count *= 10) {
		uint64_t took[CLOSES];

		for (int run = 0; run < CLOSES; run++) {
			int fd = open_device();
			uint64_t start;

			live(fd, count);
			start = begin(MARK_FIRST);
			close(fd);
			took[run] = now(MARK_NOTHING) - start;
		}
		print(*row, count, middle_of(took, CLOSES), 1, CLOSES);
	}
	close(keep);
}

/* A page that is touched for the first time, and each byte that is written after. */
static void mmap_write(const char *const *row)
{
	enum { PAGES = 4096, ROUNDS = 4 };
	struct drm_mode_map_dumb arg = {};
	int fd = open_device();
	uint64_t start, faulted, end;
	char *p;

	arg.handle = create(fd, PAGES);
	if (ioctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &arg))
		fail("MAP_DUMB");
	p = mmap(NULL, PAGES * 4096ul, PROT_READ | PROT_WRITE, MAP_SHARED, fd, arg.offset);
	if (p == MAP_FAILED)
		fail("mmap");

	start = begin(MARK_FIRST);
	for (int i = 0; i < PAGES; i++)
		*(volatile char *)(p + i * 4096ul) = 1;
	faulted = now(MARK_SECOND);
	for (int i = 0; i < ROUNDS; i++) {
		memset(p, i, PAGES * 4096ul);
		__asm__ volatile("" ::: "memory");
	}
	end = now(MARK_NOTHING);
	print(row[0], 1, faulted - start, PAGES, 1);
	print(row[1], 1, end - faulted, PAGES * ROUNDS, 1);
	munmap(p, PAGES * 4096ul);
	close(fd);
}

struct thread {
	pthread_t id;
	int fd;
	uint32_t handle;
};

/* How many pairs a thread does. */
#define PAIRS many(4000)

static pthread_barrier_t barrier;

static void *thread_main(void *data)
{
	struct thread *thread = data;

	pthread_barrier_wait(&barrier);
	pairs(thread->fd, thread->handle, PAIRS);
	return NULL;
}

/* What this many threads take for as many pairs each. */
static uint64_t run_threads(int count, int same_file, int same_buffer)
{
	struct thread thread[4];
	uint64_t start, took;

	pthread_barrier_init(&barrier, NULL, count + 1);
	for (int i = 0; i < count; i++) {
		thread[i].fd = i && same_file ? thread[0].fd : open_device();
		thread[i].handle = i && same_buffer ? thread[0].handle : create(thread[i].fd, 1);
		if (pthread_create(&thread[i].id, NULL, thread_main, &thread[i]))
			fail("pthread_create");
	}
	start = begin(MARK_FIRST);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < count; i++)
		pthread_join(thread[i].id, NULL);
	took = now(MARK_NOTHING) - start;
	for (int i = 0; i < count; i++)
		if (!i || !same_file)
			close(thread[i].fd);
	return took;
}

/* The time of a pair, while all threads together do many. */
static void threads(const char *const *row, int same_file, int same_buffer)
{
	for (int count = 1; count <= 4; count++) {
		uint64_t least = 0;

		for (int run = 0; run < RUNS; run++)
			keep_least(&least, run_threads(count, same_file, same_buffer));
		print(*row, count, least, PAIRS * count, RUNS);
	}
}

static void threads_buffer(const char *const *row)
{
	threads(row, 1, 1);
}

static void threads_file(const char *const *row)
{
	threads(row, 1, 0);
}

static void threads_files(const char *const *row)
{
	threads(row, 0, 0);
}

/* What measures which rows. */
static const struct {
	void (*run)(const char *const *row);
	const char *row[2];
} rows[] = {
	{ get_cap, { "null ioctl" } },
	{ signal_unknown, { "SIGNAL, unknown" } },
	{ attach_signal_apart, { "ATTACH", "SIGNAL" } },
	{ fences_per_buffer, { "pair, by fences on the buffer" } },
	{ fences_per_file, { "pair, by fences of the file" } },
	{ create_destroy, { "create, destroy" } },
	{ lookup, { "ATTACH, busy, by handles" } },
	{ prime, { "export", "import" } },
	{ sync_file, { "export sync_file, close" } },
	{ open_close, { "open, close" } },
	{ close_signaled, { "close, by signaled fences" } },
	{ close_live, { "close, by live fences" } },
	{ mmap_write, { "fault a page", "write a page" } },
	{ threads_buffer, { "pair, by threads, one buffer" } },
	{ threads_file, { "pair, by threads, one file" } },
	{ threads_files, { "pair, by threads, files" } },
};

int main(int argc, char **argv)
{
	wanted = argv + 1;
	if (argc > 2 && !strcmp(argv[1], "-m")) {
		max = strtoul(argv[2], NULL, 10);
		wanted += 2;
	}
	find_device("vgem");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (want(rows[i].row[0]) || want(rows[i].row[1]))
			rows[i].run(rows[i].row);
	return 0;
}
