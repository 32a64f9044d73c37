// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU that counts how often the guest executes each instruction between the marks
 * of bench/mark.h. For each row it writes to its argument out=FILE:
 *
 *	row
 *	ADDRESS TIMES
 *	...
 *
 * with the address in hexadecimal. QEMU's header is not packaged, so what is used of it is
 * declared here. PLUGIN_VERSION is 1, or 3 for QEMU 9.1 and later.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mark.h"

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t qemu_plugin_id_t;

int qemu_plugin_version = PLUGIN_VERSION;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
					  void (*cb)(unsigned int, void *), int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int, void *), int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
#if PLUGIN_VERSION < 3
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *dest, size_t len);
#endif

/* A sequence of instructions that are executed together. */
struct block {
	struct block *next;
	uint64_t count[MARK_ROW];
	size_t length;
	uint64_t address[];
};

static struct block *blocks;
static unsigned int counting;
static FILE *out;

static void executed(unsigned int cpu, void *data)
{
	struct block *block = data;

	(void)cpu;
	block->count[counting]++;
}

/* Writes what was counted first, or else second. */
static void end_row(void)
{
	unsigned int what = MARK_SECOND;

	for (struct block *block = blocks; block; block = block->next)
		if (block->count[MARK_FIRST])
			what = MARK_FIRST;
	fprintf(out, "row\n");
	for (struct block *block = blocks; block; block = block->next) {
		for (size_t i = 0; block->count[what] && i < block->length; i++)
			fprintf(out, "%llx %llu\n", (unsigned long long)block->address[i],
				(unsigned long long)block->count[what]);
		block->count[what] = 0;
	}
	fflush(out);
}

static void marked(unsigned int cpu, void *data)
{
	unsigned int what = (uintptr_t)data;

	(void)cpu;
	if (what == MARK_ROW)
		end_row();
	else
		counting = what;
}

/* The mark that the instruction is, or -1. */
static int mark_of(const struct qemu_plugin_insn *insn)
{
	static const uint8_t nopl[] = { 0x0f, 0x1f, 0x80 };
	uint8_t code[7];
	uint32_t value;

	if (qemu_plugin_insn_size(insn) != sizeof(code))
		return -1;
#if PLUGIN_VERSION < 3
	memcpy(code, qemu_plugin_insn_data(insn), sizeof(code));
#else
	qemu_plugin_insn_data(insn, code, sizeof(code));
#endif
	memcpy(&value, code + sizeof(nopl), sizeof(value));
	if (memcmp(code, nopl, sizeof(nopl)) || value < MARK_MAGIC || value > MARK_MAGIC + MARK_ROW)
		return -1;
	return value - MARK_MAGIC;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t length = qemu_plugin_tb_n_insns(tb);
	struct block *block = calloc(1, sizeof(*block) + length * sizeof(block->address[0]));

	(void)id;
	if (!block)
		abort();
	block->length = length;
	block->next = blocks;
	blocks = block;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, block);
	for (size_t i = 0; i < length; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		int what = mark_of(insn);

		block->address[i] = qemu_plugin_insn_vaddr(insn);
		if (what >= 0)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, marked, 0,
							       (void *)(uintptr_t)what);
	}
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	if (argc != 1 || strncmp(argv[0], "out=", 4))
		return -1;
	out = fopen(argv[0] + 4, "w");
	if (!out)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
