// SPDX-License-Identifier: GPL-2.0
/*
 * What a driver in C writes for what bench.rs does: one function for each row, which
 * does it n times.
 */

#include <linux/completion.h>
#include <linux/dma-fence.h>
#include <linux/dma-fence-unwrap.h>
#include <linux/dma-resv.h>
#include <linux/hrtimer.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "../mark.h"

void bench_c_settle(void);
void bench_c_settle(void)
{
	rcu_barrier();
}

void bench_c_mark(unsigned int what);
void bench_c_mark(unsigned int what)
{
	switch (what) {
	case MARK_NOTHING:
		MARK(MARK_NOTHING);
		break;
	case MARK_FIRST:
		MARK(MARK_FIRST);
		break;
	case MARK_SECOND:
		MARK(MARK_SECOND);
		break;
	default:
		MARK(MARK_ROW);
		break;
	}
}

/* As much data as a fence that Rust emits has. */
struct bench_fence {
	struct dma_fence base;
	const void *names;
};

static const char *bench_name(struct dma_fence *fence)
{
	return "bench";
}

static const struct dma_fence_ops bench_ops = {
	.get_driver_name = bench_name,
	.get_timeline_name = bench_name,
};

static struct dma_fence *bench_fence(u64 context, u64 seqno)
{
	struct bench_fence *fence = kmalloc_obj(*fence);

	if (!fence)
		return NULL;

	fence->names = bench_name;
	dma_fence_init64(&fence->base, &bench_ops, NULL, context, seqno);

	return &fence->base;
}

int bench_c_fence(unsigned int n);
int bench_c_fence(unsigned int n)
{
	u64 context = dma_fence_context_alloc(1);
	u64 seqno = 0;

	while (n--) {
		struct dma_fence *fence = bench_fence(context, ++seqno);

		if (!fence)
			return -ENOMEM;
		dma_fence_signal(fence);
		dma_fence_put(fence);
	}

	return 0;
}

/* Whoever is called back may be gone by then, so the callback has a reference. */
struct bench_done {
	refcount_t refs;
	struct completion done;
};

struct bench_cb {
	struct dma_fence_cb base;
	struct dma_fence *fence;
	struct bench_done *done;
};

static struct bench_done *bench_done(void)
{
	struct bench_done *done = kmalloc_obj(*done);

	if (done) {
		refcount_set(&done->refs, 1);
		init_completion(&done->done);
	}

	return done;
}

static void bench_done_put(struct bench_done *done)
{
	if (refcount_dec_and_test(&done->refs))
		kfree(done);
}

static void bench_func(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	complete_all(&container_of(cb, struct bench_cb, base)->done->done);
}

static int bench_cb_add(struct bench_cb *cb, struct dma_fence *fence)
{
	cb->fence = dma_fence_get(fence);

	return dma_fence_add_callback(fence, &cb->base, bench_func);
}

static void bench_cb_remove(struct bench_cb *cb)
{
	dma_fence_remove_callback(cb->fence, &cb->base);
	dma_fence_put(cb->fence);
}

int bench_c_callback_remove(unsigned int n);
int bench_c_callback_remove(unsigned int n)
{
	struct dma_fence *fence = bench_fence(dma_fence_context_alloc(1), 1);
	struct bench_cb cb = { .done = bench_done() };

	if (!fence || !cb.done)
		return -ENOMEM;

	while (n--) {
		if (bench_cb_add(&cb, fence))
			return -EINVAL;
		bench_cb_remove(&cb);
	}

	bench_done_put(cb.done);
	dma_fence_signal(fence);
	dma_fence_put(fence);

	return 0;
}

int bench_c_callback_fire(unsigned int n);
int bench_c_callback_fire(unsigned int n)
{
	u64 context = dma_fence_context_alloc(1);
	struct bench_cb cb = { .done = bench_done() };
	u64 seqno = 0;

	if (!cb.done)
		return -ENOMEM;

	while (n--) {
		struct dma_fence *fence = bench_fence(context, ++seqno);

		if (!fence || bench_cb_add(&cb, fence))
			return -EINVAL;
		dma_fence_signal(fence);
		dma_fence_put(fence);

		/* It may still be running on another CPU. */
		bench_cb_remove(&cb);
	}

	bench_done_put(cb.done);

	return 0;
}

int bench_c_merge(unsigned int n);
int bench_c_merge(unsigned int n)
{
	struct dma_fence *fences[16], *merged;
	struct dma_fence_unwrap iters[16];
	int i;

	for (i = 0; i < 16; i++) {
		fences[i] = bench_fence(dma_fence_context_alloc(1), 1);
		if (!fences[i])
			return -ENOMEM;
	}

	while (n--) {
		merged = __dma_fence_unwrap_merge(16, fences, iters);
		if (!merged)
			return -ENOMEM;
		dma_fence_put(merged);
	}

	for (i = 0; i < 16; i++) {
		dma_fence_signal(fences[i]);
		dma_fence_put(fences[i]);
	}

	return 0;
}

int bench_c_resv(unsigned int n);
int bench_c_resv(unsigned int n)
{
	struct dma_fence *fence = bench_fence(dma_fence_context_alloc(1), 1);
	struct dma_resv resv;
	int ret = 0;

	if (!fence)
		return -ENOMEM;

	dma_resv_init(&resv);
	while (n-- && !ret) {
		dma_resv_lock(&resv, NULL);
		ret = dma_resv_reserve_fences(&resv, 1);
		if (!ret)
			dma_resv_add_fence(&resv, fence, DMA_RESV_USAGE_WRITE);
		dma_resv_unlock(&resv);
	}
	dma_resv_fini(&resv);

	dma_fence_signal(fence);
	dma_fence_put(fence);

	return ret;
}

static enum hrtimer_restart bench_timer(struct hrtimer *timer)
{
	return HRTIMER_NORESTART;
}

int bench_c_timer(unsigned int n);
int bench_c_timer(unsigned int n)
{
	struct hrtimer timer;

	hrtimer_setup_on_stack(&timer, bench_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	while (n--) {
		hrtimer_start_range_ns(&timer, 100 * NSEC_PER_SEC, 0, HRTIMER_MODE_REL);
		hrtimer_cancel(&timer);
	}
	destroy_hrtimer_on_stack(&timer);

	return 0;
}
