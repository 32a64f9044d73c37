/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Instructions that do nothing, but tell bench/plugin.c what it is to count, should it
 * be there: nothing, what the row that comes first in the output is about or what the
 * second is, and that a row is complete.
 */

#define MARK_NOTHING	0
#define MARK_FIRST	1
#define MARK_SECOND	2
#define MARK_ROW	3

/* nopl, with this and what it says where an address would be. */
#define MARK_MAGIC	0x72676d00

#define MARK(what) __asm__ volatile("nopl %c0(%%rax)" : : "i"(MARK_MAGIC + (what)) : "memory")
