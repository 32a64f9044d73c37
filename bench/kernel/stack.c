// SPDX-License-Identifier: GPL-2.0
/*
 * Tells how much of its stack a task has used: /proc/bench-stack's ioctl STACK_FILL fills
 * what is free of the stack with a pattern, and STACK_DEPTH says how much of it is not the
 * pattern any more. It is shallower than the calls that are measured.
 */

#include <linux/compiler.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/sched/task_stack.h>

#include "../stack.h"

#define PATTERN 0x7267656d73746b21ul

/* What fills needs some itself. */
#define OWN 256

static noinline void fill(void)
{
	unsigned long *end = (unsigned long *)(current_stack_pointer - OWN);
	unsigned long flags;

	local_irq_save(flags);
	for (unsigned long *p = end_of_stack(current) + 1; p < end; p++)
		WRITE_ONCE(*p, PATTERN);
	local_irq_restore(flags);
}

static long depth(void)
{
	unsigned long *p = end_of_stack(current) + 1;

	while (READ_ONCE(*p) == PATTERN)
		p++;

	return (void *)task_pt_regs(current) - (void *)p;
}

static long bench_stack_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case STACK_FILL:
		fill();
		return 0;
	case STACK_DEPTH:
		return depth();
	default:
		return -ENOTTY;
	}
}

static const struct proc_ops bench_stack_ops = {
	.proc_ioctl = bench_stack_ioctl,
};

static int __init bench_stack_init(void)
{
	return proc_create("bench-stack", 0600, NULL, &bench_stack_ops) ? 0 : -ENOMEM;
}
module_init(bench_stack_init);

static void __exit bench_stack_exit(void)
{
	remove_proc_entry("bench-stack", NULL);
}
module_exit(bench_stack_exit);

MODULE_DESCRIPTION("How much stack a system call uses");
MODULE_LICENSE("GPL");
