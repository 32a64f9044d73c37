/* SPDX-License-Identifier: GPL-2.0 */
/* The calls of /proc/bench-stack, see kernel/stack.c. */

#include <linux/ioctl.h>

#define STACK_FILL	_IO('b', 0xe0)
#define STACK_DEPTH	_IO('b', 0xe1)
