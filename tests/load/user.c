// SPDX-License-Identifier: GPL-2.0
/*
 * Uses VGEM as much as it can bear, and looks at what is left behind. Needs root.
 *
 * user pairs COUNT: so many fences are attached and signalled, by 8 threads on 4 files.
 * user expire COUNT: so many fences are there at once, and expire.
 * user kill COUNT: so often, a process is killed while it does all that there is.
 * user reload COUNT MODULE: so often, the module is loaded, and unloaded, while others open
 * its nodes.
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../left.h"

#define FILES 4
#define THREADS 8

/* What the kernel itself may have more of at any time. */
#define NOISE 256

#define PROVE_LOCKING "/proc/sys/kernel/prove_locking"

/* A buffer has no more fences than this, as each is looked at for the next. */
#define PER_BUFFER 8

/* A fence may be this late on a machine that has all of them to signal. */
#define LATE (2 * NSEC_PER_SEC)

static int failures;

#define CHECK(condition, ...)								\
	do {										\
		if (!(condition) && failures++ < 20) {					\
			printf("not ok: %s: ", #condition);				\
			printf(__VA_ARGS__);						\
			printf("\n");							\
		}									\
	} while (0)

/* To some milliseconds, and never later than it is: the guest's clock takes long to read. */
static int64_t about_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static int files[FILES];
static pthread_barrier_t barrier;

static void open_files(void)
{
	for (int i = 0; i < FILES; i++)
		files[i] = need("VGEM", vgem_open());
}

static void close_files(void)
{
	for (int i = 0; i < FILES; i++)
		close(files[i]);
}

static void run_threads(void *(*function)(void *), int count)
{
	pthread_t threads[THREADS];

	pthread_barrier_init(&barrier, NULL, count);
	for (long i = 0; i < count; i++)
		need("thread", -pthread_create(&threads[i], NULL, function, (void *)i));
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
}

/* Attach and signal */

static long pairs_each;
static atomic_long pairs_done;

static void *pair_thread(void *arg)
{
	int fd = files[(long)arg % FILES];
	uint32_t handle, id, last = 0;
	long done = 0;

	need("CREATE_DUMB", dumb_create(fd, 1, &handle));
	pthread_barrier_wait(&barrier);
	while (done < pairs_each) {
		if (vgem_attach(fd, handle, VGEM_FENCE_WRITE, &id) || id == last ||
		    vgem_signal(fd, id))
			break;
		last = id;
		done++;
	}
	pairs_done += done;
	need("GEM_CLOSE", gem_close(fd, handle));
	return NULL;
}

static long pairs(long count)
{
	open_files();
	pairs_each = count / THREADS;
	pairs_done = 0;
	run_threads(pair_thread, THREADS);
	CHECK(pairs_done == pairs_each * THREADS, "%ld of %ld", pairs_done, pairs_each * THREADS);
	close_files();
	return pairs_done;
}

/* Expiry */

struct fence {
	uint32_t id;
	/* When it was attached, at the earliest and at the latest. */
	int64_t from, to;
};

struct buffer {
	uint32_t handle;
	int file, dmabuf, sync_file, count;
	struct fence fences[PER_BUFFER];
};

static struct buffer *buffers;
static long buffer_count;

static void *attach_thread(void *arg)
{
	long thread = (long)arg;

	pthread_barrier_wait(&barrier);
	for (long i = thread; i < buffer_count; i += THREADS)
		for (int j = 0; j < buffers[i].count; j++) {
			struct fence *fence = &buffers[i].fences[j];

			fence->from = about_now();
			need("FENCE_ATTACH", vgem_attach(buffers[i].file, buffers[i].handle, 0,
							 &fence->id));
			fence->to = about_now();
		}
	return NULL;
}

static int by_time(const void *a, const void *b)
{
	const struct sync_fence_info *x = a, *y = b;

	return (x->timestamp_ns > y->timestamp_ns) - (x->timestamp_ns < y->timestamp_ns);
}

static long expire(long count)
{
	/* Two for each buffer, and those of left.h. */
	const rlim_t max = 2 * count / PER_BUFFER + 1024;
	const struct rlimit nofile = { max, max };
	static struct sync_fence_info info[PER_BUFFER];
	int64_t first = INT64_MAX, last = 0, end, late, least = INT64_MAX, most = 0;
	long i, timed_out = 0, in_time = 0;
	int j;

	/* Lockdep would take more of the 10 s than the fences do. */
	need("prove_locking", write_file(PROVE_LOCKING, "0"));
	need("RLIMIT_NOFILE", setrlimit(RLIMIT_NOFILE, &nofile));
	open_files();
	buffer_count = (count + PER_BUFFER - 1) / PER_BUFFER;
	buffers = calloc(buffer_count, sizeof(*buffers));
	for (i = 0; i < buffer_count; i++) {
		/* A thread has its buffers in one file, which it shares with another one. */
		buffers[i].file = files[i % FILES];
		buffers[i].count = i + 1 < buffer_count ? PER_BUFFER : count - i * PER_BUFFER;
		need("CREATE_DUMB", dumb_create(buffers[i].file, 1, &buffers[i].handle));
		buffers[i].dmabuf = need("PRIME_HANDLE_TO_FD",
					 prime_export(buffers[i].file, buffers[i].handle));
	}

	run_threads(attach_thread, THREADS);
	for (i = 0; i < buffer_count; i++) {
		buffers[i].sync_file = need("EXPORT_SYNC_FILE",
					    export_sync_file(buffers[i].dmabuf, DMA_BUF_SYNC_RW));
		for (j = 0; j < buffers[i].count; j++) {
			if (buffers[i].fences[j].from < first)
				first = buffers[i].fences[j].from;
			if (buffers[i].fences[j].to > last)
				last = buffers[i].fences[j].to;
		}
	}
	end = now();
	need("prove_locking", write_file(PROVE_LOCKING, "1"));
	if (end >= first + VGEM_TIMEOUT) {
		printf("not ok: this machine is too slow to have %ld fences at once: it took %.1f s to attach them\n",
		       count, (end - first) / 1e9);
		exit(1);
	}

	sleep_until(last + VGEM_TIMEOUT + LATE);
	for (i = 0; i < buffer_count; i++) {
		int got = sync_file_fences(buffers[i].sync_file, info, PER_BUFFER);

		CHECK(got == buffers[i].count, "%d fences, not %d", got, buffers[i].count);
		qsort(info, got > 0 ? got : 0, sizeof(info[0]), by_time);
		for (j = 0; j < got; j++) {
			struct fence *fence = &buffers[i].fences[j];
			int64_t time = info[j].timestamp_ns;

			late = time - fence->from - VGEM_TIMEOUT;
			least = late < least ? late : least;
			most = late > most ? late : most;
			in_time += info[j].status == 1 && late >= 0 &&
				   time <= fence->to + VGEM_TIMEOUT + LATE;
			timed_out += vgem_signal(buffers[i].file, fence->id) == -ETIMEDOUT;
		}
		close(buffers[i].sync_file);
		close(buffers[i].dmabuf);
	}
	CHECK(in_time == count, "%ld of %ld", in_time, count);
	CHECK(timed_out == count, "%ld of %ld", timed_out, count);
	printf("  attached in %.1f s; expired %.3f to %.3f s after their 10 s\n", (last - first) / 1e9,
	       least / 1e9, most / 1e9);
	free(buffers);
	close_files();
	return in_time;
}

/* Processes that are killed */

/* What a process that is killed tells. */
static struct shared {
	atomic_long calls;
	atomic_int busy, inside[2];
} *shared;

static int victim_fd, shared_dmabuf;

static void *victim_thread(void *arg)
{
	long thread = (long)arg;
	unsigned int seed = getpid() * 2 + thread;
	uint32_t handle, imported, id = 0;
	int dmabuf, sync_file;

#define DO(call) ({									\
	atomic_store(&shared->inside[thread], 1);					\
	__typeof__(call) ret = (call);							\
	atomic_store(&shared->inside[thread], 0);					\
	shared->calls++;								\
	ret; })

	for (;;) {
		if (DO(dumb_create(victim_fd, 1 + rand_r(&seed) % 16, &handle)))
			continue;
		dmabuf = DO(prime_export(victim_fd, handle));
		for (int i = rand_r(&seed) % 40; i > 0; i--)
			DO(vgem_attach(victim_fd, handle, 0, &id));
		sync_file = DO(export_sync_file(dmabuf, DMA_BUF_SYNC_RW));
		DO(vgem_signal(victim_fd, id));
		DO(import_sync_file(dmabuf, DMA_BUF_SYNC_READ, sync_file));
		DO(prime_import(victim_fd, shared_dmabuf, &imported));
		close(sync_file);
		if (rand_r(&seed) % 2)
			close(dmabuf);
		DO(gem_close(victim_fd, handle));
	}
	return NULL;
}

static void victim(void)
{
	uint32_t handle;
	pthread_t thread;

	victim_fd = need("VGEM", vgem_open());
	need("PRIME_FD_TO_HANDLE", prime_import(victim_fd, shared_dmabuf, &handle));
	need("FENCE_ATTACH", vgem_attach(victim_fd, handle, VGEM_FENCE_WRITE, NULL));
	need("thread", -pthread_create(&thread, NULL, victim_thread, (void *)1));
	atomic_store(&shared->busy, 1);
	victim_thread(NULL);
}

static long kills(long count)
{
	long i, inside = 0, freed = 0, calls = 0;
	int fd = need("VGEM", vgem_open());
	unsigned int seed = count;
	uint32_t handle;
	pid_t pid;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need("CREATE_DUMB", dumb_create(fd, 1, &handle));
	shared_dmabuf = need("PRIME_HANDLE_TO_FD", prime_export(fd, handle));
	for (i = 0; i < count; i++) {
		memset(shared, 0, sizeof(*shared));
		pid = need("fork", fork());
		if (!pid)
			victim();
		while (!atomic_load(&shared->busy) && !waitpid(pid, NULL, WNOHANG))
			usleep(100);
		CHECK(!writable(shared_dmabuf), "the victim's fence");
		usleep(rand_r(&seed) % 10000);
		need("kill", kill(pid, SIGKILL));
		need("wait", waitpid(pid, NULL, 0));
		inside += shared->inside[0] || shared->inside[1];
		calls += shared->calls;
		/* Its fences went with it. */
		freed += writable(shared_dmabuf);
	}
	CHECK(freed == count, "%ld of %ld", freed, count);
	CHECK(inside, "nobody was in the middle of a call");
	printf("  after %ld calls in all, in the middle of one %ld times\n", calls, inside);
	munmap(shared, sizeof(*shared));
	close(shared_dmabuf);
	close(fd);
	return freed;
}

/* Loading, while others open */

static atomic_bool loading;
static atomic_long opened, refused;

static void *open_thread(void *arg)
{
	unsigned int seed = (long)arg;
	uint32_t handle, id;
	int fd;

	while (atomic_load(&loading)) {
		/* By its number: there is no other driver. */
		fd = open((long)arg % 2 ? "/dev/dri/renderD128" : "/dev/dri/card0", O_RDWR | O_CLOEXEC);
		if (fd < 0) {
			refused++;
		} else {
			opened++;
			if (!dumb_create(fd, 1, &handle))
				vgem_attach(fd, handle, 0, &id);
			close(fd);
		}
		usleep(rand_r(&seed) % 5000);
	}
	return NULL;
}

static long reload(long count, const char *path)
{
	int file = need(path, open(path, O_RDONLY | O_CLOEXEC));
	long busy = 0, loaded = 0;
	pthread_t threads[2];
	unsigned int seed = count;
	struct stat stat;
	char *image;

	need(path, fstat(file, &stat));
	image = malloc(stat.st_size);
	if (!image || read(file, image, stat.st_size) != stat.st_size)
		die(path);
	close(file);

	atomic_store(&loading, true);
	opened = refused = 0;
	for (long i = 0; i < 2; i++)
		need("thread", -pthread_create(&threads[i], NULL, open_thread, (void *)i));
	for (; loaded < count; loaded++) {
		need("load", syscall(SYS_init_module, image, stat.st_size, ""));
		usleep(rand_r(&seed) % 10000);
		while (syscall(SYS_delete_module, "vgem", O_NONBLOCK)) {
			if (errno != EAGAIN && errno != EBUSY)
				die("unload");
			busy++;
			usleep(rand_r(&seed) % 1000);
		}
	}
	atomic_store(&loading, false);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK(opened || count < 100, "nobody opened it");
	CHECK(busy || count < 100, "it was never in use");
	printf("  while it was opened %ld times, and not there %ld times; in use at %ld attempts to unload\n",
	       opened, refused, busy);
	free(image);
	return loaded;
}

int main(int argc, char **argv)
{
	static struct caches before, after;
	const char *what = argc > 1 ? argv[1] : "";
	long count = argc > 2 ? atol(argv[2]) : 0;
	char left[512] = "";
	int64_t start;
	long done;

	setvbuf(stdout, NULL, _IONBF, 0);
	/* First, a little of it, for what is made once and stays. */
	for (int warm = 1; warm >= 0; warm--) {
		start = now();
		if (!strcmp(what, "pairs"))
			done = pairs(warm ? 800 : count);
		else if (!strcmp(what, "expire"))
			done = expire(warm ? 100 : count);
		else if (!strcmp(what, "kill"))
			done = kills(warm ? 10 : count);
		else if (!strcmp(what, "reload") && argc == 4)
			done = reload(warm ? 2 : count, argv[3]);
		else {
			fprintf(stderr, "user pairs|expire|kill COUNT, or reload COUNT MODULE\n");
			return 2;
		}
		start = now() - start;
		count_caches(warm ? &before : &after);
	}
	compare_caches(&before, &after, NOISE, left, sizeof(left));
	CHECK(!*left, "left behind%s", left);
	printf("%s: %ld in %.1f s, %s\n", what, done, start / 1e9, failures ? "with errors" : "nothing left");
	return !!failures;
}
