// SPDX-License-Identifier: GPL-2.0
/* Polls of dma-bufs and sync_files by io_uring, which end when VGEM's fences do. */

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kselftest_harness.h"
#include "vgem_common.h"

#define WRITE	VGEM_FENCE_WRITE

enum { ENTRIES = 256, BUFFERS = 64 };

struct ring {
	int fd;
	unsigned int *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

/* Returns 0 or -errno. */
static int ring_init(struct ring *ring)
{
	struct io_uring_params params = {};
	size_t size, cq_size;
	char *map;

	ring->fd = syscall(__NR_io_uring_setup, ENTRIES, &params);
	if (ring->fd < 0)
		return -errno;
	if (!(params.features & IORING_FEAT_SINGLE_MMAP))
		return -EOPNOTSUPP;
	size = params.sq_off.array + params.sq_entries * sizeof(*ring->sq_array);
	cq_size = params.cq_off.cqes + params.cq_entries * sizeof(*ring->cqes);
	if (size < cq_size)
		size = cq_size;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, params.sq_entries * sizeof(*ring->sqes), PROT_READ | PROT_WRITE,
			  MAP_SHARED, ring->fd, IORING_OFF_SQES);
	if (map == MAP_FAILED || ring->sqes == MAP_FAILED)
		return -errno;
	ring->sq_tail = (void *)(map + params.sq_off.tail);
	ring->sq_mask = (void *)(map + params.sq_off.ring_mask);
	ring->sq_array = (void *)(map + params.sq_off.array);
	ring->cq_head = (void *)(map + params.cq_off.head);
	ring->cq_tail = (void *)(map + params.cq_off.tail);
	ring->cq_mask = (void *)(map + params.cq_off.ring_mask);
	ring->cqes = (void *)(map + params.cq_off.cqes);
	return 0;
}

/* Returns whether it was submitted. */
static bool submit(struct ring *ring, const struct io_uring_sqe *sqe)
{
	unsigned int tail = *ring->sq_tail, index = tail & *ring->sq_mask;

	ring->sqes[index] = *sqe;
	ring->sq_array[index] = index;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
	return syscall(__NR_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0) == 1;
}

static bool poll_add(struct ring *ring, int fd, short events, uint64_t name)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_POLL_ADD,
		.fd = fd,
		.poll32_events = events,
		.user_data = name,
	};

	return submit(ring, &sqe);
}

/* Takes a completion, if there is one within @ms. */
static bool completion(struct ring *ring, int ms, uint64_t *name, int *res)
{
	unsigned int head = *ring->cq_head;

	/* The kernel posts some only when the task enters it. */
	syscall(__NR_io_uring_enter, ring->fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
	if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) &&
	    poll_fd(ring->fd, POLLIN, ms) != POLLIN)
		return false;
	syscall(__NR_io_uring_enter, ring->fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
	if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
		return false;
	*name = ring->cqes[head & *ring->cq_mask].user_data;
	*res = ring->cqes[head & *ring->cq_mask].res;
	__atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
	return true;
}

FIXTURE(vgem_uring) {
	struct ring ring;
	int fd;
	struct {
		int dmabuf, sync_file;
		uint32_t id;
	} buffers[BUFFERS];
};

FIXTURE_SETUP(vgem_uring)
{
	uint32_t handle;
	int i;

	if (ring_init(&self->ring))
		SKIP(return, "no io_uring");
	self->fd = vgem_open();
	if (self->fd < 0)
		SKIP(return, "no VGEM device, or no right to open it");
	for (i = 0; i < BUFFERS; i++) {
		ASSERT_EQ(0, dumb_create(self->fd, 1, &handle));
		self->buffers[i].dmabuf = prime_export(self->fd, handle);
		ASSERT_LE(0, self->buffers[i].dmabuf);
		ASSERT_EQ(0, vgem_attach(self->fd, handle, i % 2 ? WRITE : 0,
					 &self->buffers[i].id));
		self->buffers[i].sync_file = export_sync_file(self->buffers[i].dmabuf,
							      DMA_BUF_SYNC_RW);
		ASSERT_LE(0, self->buffers[i].sync_file);
		/* Of a reader's fence, only writers have to wait. */
		ASSERT_TRUE(poll_add(&self->ring, self->buffers[i].dmabuf, POLLOUT, 2 * i));
		ASSERT_TRUE(poll_add(&self->ring, self->buffers[i].sync_file, POLLIN, 2 * i + 1));
	}
}

FIXTURE_TEARDOWN(vgem_uring)
{
	close(self->ring.fd);
	close(self->fd);
	for (int i = 0; i < BUFFERS; i++) {
		close(self->buffers[i].dmabuf);
		close(self->buffers[i].sync_file);
	}
}

/* Takes the completions of all polls, and returns how many were there and right. */
static int all_done(struct ring *ring, int ms)
{
	bool seen[2 * BUFFERS] = {};
	uint64_t name;
	int res, right = 0;

	while (right < 2 * BUFFERS && completion(ring, ms, &name, &res)) {
		if (name >= 2 * BUFFERS || seen[name] || res != (name % 2 ? POLLIN : POLLOUT))
			return -1;
		seen[name] = true;
		right++;
	}
	return right;
}

TEST_F(vgem_uring, signal)
{
	uint64_t name;
	int i, res;

	EXPECT_FALSE(completion(&self->ring, 50, &name, &res));
	for (i = 0; i < BUFFERS; i++)
		ASSERT_EQ(0, vgem_signal(self->fd, self->buffers[i].id));
	EXPECT_EQ(2 * BUFFERS, all_done(&self->ring, 1000));
}

/* Nobody signals them but their timers. */
TEST_F(vgem_uring, expiry)
{
	int64_t start = now();

	EXPECT_EQ(2 * BUFFERS, all_done(&self->ring, 15000));
	EXPECT_LT(5 * NSEC_PER_SEC, now() - start);
	EXPECT_EQ(-ETIMEDOUT, vgem_signal(self->fd, self->buffers[0].id));
}

/* A poll keeps what it polls, and ends with the client's fences. */
TEST_F(vgem_uring, closed_files)
{
	int i;

	for (i = 0; i < BUFFERS; i++) {
		close(self->buffers[i].dmabuf);
		close(self->buffers[i].sync_file);
		self->buffers[i].dmabuf = -1;
		self->buffers[i].sync_file = -1;
	}
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(2 * BUFFERS, all_done(&self->ring, 1000));
}

TEST_F(vgem_uring, cancel)
{
	struct io_uring_sqe sqe = { .opcode = IORING_OP_POLL_REMOVE, .user_data = 1000 };
	uint64_t name;
	int i, res, cancelled = 0, removed = 0;

	for (i = 0; i < 2 * BUFFERS; i++) {
		sqe.addr = i;
		ASSERT_TRUE(submit(&self->ring, &sqe));
	}
	while (completion(&self->ring, 200, &name, &res)) {
		removed += name == 1000 && !res;
		cancelled += name < 2 * BUFFERS && res == -ECANCELED;
	}
	EXPECT_EQ(2 * BUFFERS, removed);
	EXPECT_EQ(2 * BUFFERS, cancelled);
	for (i = 0; i < BUFFERS; i++)
		EXPECT_EQ(0, vgem_signal(self->fd, self->buffers[i].id));
}

/* A ring that is closed leaves no poll behind that a fence would find. */
TEST_F(vgem_uring, closed_ring)
{
	int i;

	close(self->ring.fd);
	self->ring.fd = -1;
	for (i = 0; i < BUFFERS; i++)
		EXPECT_EQ(0, vgem_signal(self->fd, self->buffers[i].id));
}

TEST_HARNESS_MAIN
