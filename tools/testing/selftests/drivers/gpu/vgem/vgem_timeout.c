// SPDX-License-Identifier: GPL-2.0
/*
 * What happens to fences of VGEM that user space does not signal. All of it is waited
 * for at once, as it takes 10 s.
 */

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "kselftest.h"
#include "vgem_common.h"

/* A fence may be signaled this late. More than that too early is not even a timeout. */
#define LATE		(50 * NSEC_PER_MSEC)

/* A few fences, far enough apart to find a coarse clock. */
#define FEW		8
#define APART		(41 * NSEC_PER_MSEC)

/* 10,000 in all. */
#define BUFFERS		100
#define READERS		100

/*
 * What is late says something about the driver only if the machine was not late as well:
 * there is another attempt where a real-time thread, on any CPU, was so late that this
 * could be the reason.
 */
#define ATTEMPTS	3

struct attached {
	int64_t before, after;
	uint32_t id;
};

struct buffer {
	int dmabuf, sync_file;
	uint32_t handle;
};

struct watch {
	pthread_t thread;
	int cpu;
	int64_t from, to, late;
};

/* What was seen of some fences. */
struct seen {
	int pending, errors, too_early, off;
	int64_t earliest, latest;	/* after 10 s */
	int not_timed_out, not_gone;
};

static struct seen few, many;
static int wakes, in_time;
static int64_t stalled;	/* how late the machine was at most */

static void *watch(void *arg)
{
	struct sched_param param = { .sched_priority = 1 };
	struct watch *w = arg;
	cpu_set_t cpus;
	int64_t time;

	CPU_ZERO(&cpus);
	CPU_SET(w->cpu, &cpus);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
	for (time = w->from; time < w->to; time += NSEC_PER_MSEC) {
		int64_t late;

		sleep_until(time);
		late = now() - time;
		if (late > w->late)
			w->late = late;
		if (late > NSEC_PER_MSEC)
			time += late;
	}
	return NULL;
}

static void buffer_create(int fd, struct buffer *buffer)
{
	if (dumb_create(fd, 1, &buffer->handle))
		ksft_exit_fail_msg("can't make a buffer\n");
	buffer->dmabuf = prime_export(fd, buffer->handle);
	if (buffer->dmabuf < 0)
		ksft_exit_fail_msg("can't export a buffer\n");
}

static void attach_fence(int fd, struct buffer *buffer, uint32_t flags, struct attached *fence)
{
	fence->before = now();
	if (vgem_attach(fd, buffer->handle, flags, &fence->id))
		ksft_exit_fail_msg("can't attach a fence\n");
	fence->after = now();
}

static void export_buffer(struct buffer *buffer)
{
	buffer->sync_file = export_sync_file(buffer->dmabuf, DMA_BUF_SYNC_RW);
	if (buffer->sync_file < 0)
		ksft_exit_fail_msg("can't export a sync_file\n");
}

static int by_time(const void *a, const void *b)
{
	const struct sync_fence_info *x = a, *y = b;

	return (x->timestamp_ns > y->timestamp_ns) - (x->timestamp_ns < y->timestamp_ns);
}

/* Fences of a sync_file are in no order that is promised, but expire in that of attaching. */
static void look(struct buffer *buffer, const struct attached *fences, int count,
		 struct seen *seen)
{
	struct sync_fence_info info[READERS] = {};
	int i;

	if (sync_file_fences(buffer->sync_file, info, READERS) != count)
		ksft_exit_fail_msg("the sync_file has not %d fences\n", count);
	qsort(info, count, sizeof(*info), by_time);
	for (i = 0; i < count; i++) {
		int64_t least = info[i].timestamp_ns - fences[i].after - VGEM_TIMEOUT;
		int64_t most = info[i].timestamp_ns - fences[i].before - VGEM_TIMEOUT;

		if (!info[i].status) {
			seen->pending++;
			continue;
		}
		seen->errors += info[i].status != 1;
		seen->too_early += most < -LATE;
		seen->off += most < 0 || least > LATE;
		if (most < seen->earliest)
			seen->earliest = most;
		if (least > seen->latest)
			seen->latest = least;
	}
}

static void signal_late(int fd, const struct attached *fences, int count, struct seen *seen)
{
	int i;

	for (i = 0; i < count; i++) {
		seen->not_timed_out += vgem_signal(fd, fences[i].id) != -ETIMEDOUT;
		seen->not_gone += vgem_signal(fd, fences[i].id) != -ENOENT;
	}
}

static void attempt(void)
{
	static struct attached many_fences[BUFFERS][READERS];
	struct buffer few_buffers[FEW], many_buffers[BUFFERS], early_buffer;
	struct attached few_fences[FEW], early;
	long cpu, cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct watch watches[cpus];
	int fd = vgem_open();
	int64_t start, end;
	int i, j;

	few = (struct seen){ .earliest = INT64_MAX, .latest = INT64_MIN };
	many = few;
	for (i = 0; i < FEW; i++)
		buffer_create(fd, &few_buffers[i]);
	for (i = 0; i < BUFFERS; i++)
		buffer_create(fd, &many_buffers[i]);
	buffer_create(fd, &early_buffer);

	start = now();
	for (i = 0; i < FEW; i++) {
		sleep_until(start + i * APART);
		attach_fence(fd, &few_buffers[i], VGEM_FENCE_WRITE, &few_fences[i]);
		export_buffer(&few_buffers[i]);
	}
	/* On a slow machine the first may expire before the last is attached. */
	for (i = 0; i < BUFFERS; i++) {
		for (j = 0; j < READERS; j++)
			attach_fence(fd, &many_buffers[i], 0, &many_fences[i][j]);
		export_buffer(&many_buffers[i]);
	}
	attach_fence(fd, &early_buffer, 0, &early);
	end = now();

	for (cpu = 0; cpu < cpus; cpu++) {
		watches[cpu] = (struct watch){
			.cpu = cpu,
			.from = start + VGEM_TIMEOUT - NSEC_PER_SEC / 10,
			.to = end + VGEM_TIMEOUT + NSEC_PER_SEC / 2,
		};
		pthread_create(&watches[cpu].thread, NULL, watch, &watches[cpu]);
	}

	/* One that is signaled shortly before its time. */
	sleep_until(early.before + VGEM_TIMEOUT - NSEC_PER_SEC);
	in_time = vgem_signal(fd, early.id);
	/* A poll that has begun ends when the last write expires. */
	wakes = poll_fd(few_buffers[FEW - 1].dmabuf, POLLIN, 5000) == POLLIN;
	wakes &= now() >= few_fences[FEW - 1].before + VGEM_TIMEOUT;
	stalled = 0;
	for (cpu = 0; cpu < cpus; cpu++) {
		pthread_join(watches[cpu].thread, NULL);
		if (watches[cpu].late > stalled)
			stalled = watches[cpu].late;
	}

	for (i = 0; i < FEW; i++) {
		look(&few_buffers[i], &few_fences[i], 1, &few);
		signal_late(fd, &few_fences[i], 1, &few);
		close(few_buffers[i].sync_file);
		close(few_buffers[i].dmabuf);
	}
	for (i = 0; i < BUFFERS; i++) {
		look(&many_buffers[i], many_fences[i], READERS, &many);
		signal_late(fd, many_fences[i], READERS, &many);
		close(many_buffers[i].sync_file);
		close(many_buffers[i].dmabuf);
	}
	close(early_buffer.dmabuf);
	close(fd);
}

/* Whether it is the machine that may have been late. */
static bool in_doubt(const struct seen *seen)
{
	return seen->off && seen->earliest >= 0 && seen->latest <= LATE + stalled;
}

static void on_time(const struct seen *seen, const char *name)
{
	ksft_print_msg("signaled after 10 s and %.1f to %.1f ms; the machine was %.1f ms late\n",
		       seen->earliest / 1e6, seen->latest / 1e6, stalled / 1e6);
	ksft_test_result(!seen->pending && !seen->off, "%s\n", name);
}

int main(void)
{
	int fd, i;

	ksft_print_header();
	fd = vgem_open();
	if (fd < 0)
		ksft_exit_skip("no VGEM device, or no right to open it\n");
	close(fd);
	ksft_set_plan(9);
	raise_nofile();

	for (i = 0; i < ATTEMPTS; i++) {
		attempt();
		if (!in_doubt(&few) && !in_doubt(&many))
			break;
	}

	ksft_test_result(!in_time, "timeout.signal_in_time\n");
	ksft_test_result(wakes, "timeout.wakes\n");
	ksft_test_result(!few.pending && !few.errors && !few.too_early, "timeout.expires\n");
	on_time(&few, "timeout.expires_on_time");
	ksft_test_result(!few.not_timed_out, "timeout.signal_says_so\n");
	ksft_test_result(!few.not_gone, "timeout.signal_says_so_once\n");
	ksft_test_result(!many.pending && !many.errors && !many.too_early,
			 "timeout.10000_expire\n");
	on_time(&many, "timeout.10000_expire_on_time");
	ksft_test_result(!many.not_timed_out && !many.not_gone,
			 "timeout.10000_signal_says_so\n");
	ksft_finished();
}
