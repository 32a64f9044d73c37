// SPDX-License-Identifier: GPL-2.0
/*
 * Has bench/plugin.c count what SUBMIT of the sample driver takes, and prints it as bench/client.c
 * does.
 */

#include <sched.h>

#include "measure.h"
#include "rust_mockgpu.h"

/* Of a list. */
#define MOST 16

static void call(int fd, unsigned long request, void *arg)
{
	if (ioctl(fd, request, arg))
		fail("ioctl");
}

/*
 * Jobs that do not get to run until as many are queued as fit. What they wait for are jobs of
 * another client, which do not either.
 */
static void submit(const char *row, unsigned int buffer_count, unsigned int wait_count)
{
	enum { JOBS = 64, ROUNDS = 50 };
	struct mockgpu_buffer buffers[MOST];
	struct mockgpu_sync waits[MOST];
	struct mockgpu_submit job = {
		.buffers = (uintptr_t)buffers, .buffer_count = buffer_count,
		.waits = (uintptr_t)waits, .wait_count = wait_count,
	};
	struct mockgpu_wait done = { .timeout_ns = INT64_MAX };
	int fd = open_device(), other = open_device();
	uint64_t took = 0;

	for (unsigned int i = 0; i < buffer_count; i++) {
		struct mockgpu_create arg = { .size = 4096 };

		call(fd, DRM_IOCTL_MOCKGPU_CREATE, &arg);
		buffers[i].handle = arg.handle;
		buffers[i].flags = MOCKGPU_BUFFER_WRITE;
	}
	done.handle = buffers[0].handle;

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start;

		settle();
		for (unsigned int i = 0; i < wait_count; i++) {
			struct mockgpu_submit before = { .flags = MOCKGPU_SUBMIT_SYNC_FILE };

			call(other, DRM_IOCTL_MOCKGPU_SUBMIT, &before);
			waits[i] = (struct mockgpu_sync){ .kind = MOCKGPU_SYNC_FILE, .handle = before.sync_file };
		}
		start = now(MARK_FIRST);
		for (int i = 0; i < JOBS; i++)
			call(fd, DRM_IOCTL_MOCKGPU_SUBMIT, &job);
		took += now(MARK_NOTHING) - start;
		call(fd, DRM_IOCTL_MOCKGPU_WAIT, &done);
		for (unsigned int i = 0; i < wait_count; i++)
			close(waits[i].handle);
	}
	print(row, 1, took, JOBS * ROUNDS, 1);
	close(other);
	close(fd);
}

int main(void)
{
	const struct sched_param before_workers = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_FIFO, &before_workers))
		fail("sched_setscheduler");
	find_device("rust_mockgpu");
	submit("SUBMIT: 1 buffer", 1, 0);
	submit("SUBMIT: 16 buffers, 16 fences", MOST, MOST);
	return 0;
}
