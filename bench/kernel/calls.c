// SPDX-License-Identifier: GPL-2.0
/*
 * What a driver in C writes for what bench.rs does: one function for each row, which
 * does it n times.
 */

#include <linux/completion.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/hrtimer.h>
#include <linux/slab.h>

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

struct bench_cb {
	struct dma_fence_cb base;
	struct dma_fence *fence;
	struct completion *done;
};

static void bench_func(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	complete_all(container_of(cb, struct bench_cb, base)->done);
}

int bench_c_callback_remove(unsigned int n);
int bench_c_callback_remove(unsigned int n)
{
	struct dma_fence *fence = bench_fence(dma_fence_context_alloc(1), 1);
	struct completion done;
	struct bench_cb cb = { .done = &done };

	if (!fence)
		return -ENOMEM;

	init_completion(&done);
	while (n--) {
		cb.fence = dma_fence_get(fence);
		if (dma_fence_add_callback(fence, &cb.base, bench_func))
			break;
		dma_fence_remove_callback(fence, &cb.base);
		dma_fence_put(cb.fence);
	}

	dma_fence_signal(fence);
	dma_fence_put(fence);

	return 0;
}

int bench_c_callback_fire(unsigned int n);
int bench_c_callback_fire(unsigned int n)
{
	u64 context = dma_fence_context_alloc(1);
	struct completion done;
	struct bench_cb cb = { .done = &done };
	u64 seqno = 0;

	init_completion(&done);
	while (n--) {
		struct dma_fence *fence = bench_fence(context, ++seqno);

		if (!fence)
			return -ENOMEM;
		cb.fence = dma_fence_get(fence);
		if (dma_fence_add_callback(fence, &cb.base, bench_func))
			return -EINVAL;
		dma_fence_signal(fence);
		dma_fence_put(fence);

		/* It may still be running on another CPU. */
		dma_fence_remove_callback(cb.fence, &cb.base);
		dma_fence_put(cb.fence);
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
