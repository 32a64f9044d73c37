/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs that look for what VGEM leaves behind share. Needs root, and
 * /sys/kernel/slab.
 */

#include <dirent.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "vgem_common.h"

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* What no test should change: returns 0, or ends the program. */
static long need(const char *what, long ret)
{
	if (ret < 0) {
		errno = ret == -1 ? errno : -ret;
		die(what);
	}
	return ret;
}

static char *read_fd(const char *path, int fd)
{
	static char text[1 << 18];
	size_t size = 0;
	ssize_t got;

	while ((got = read(fd, text + size, sizeof(text) - 1 - size)) > 0)
		size += got;
	need(path, got);
	text[size] = '\0';
	return text;
}

/* What is left behind */

struct cache {
	char name[48];
	long objects;
};

struct caches {
	int count;
	struct cache cache[512];
	long shmem;
};

/* Open all the time, as to open them takes memory, too. */
static int slabinfo_fd, drop_caches_fd, shrink_fds[512], shrink_count;

static void open_caches(void)
{
	struct dirent *entry;
	char path[320];
	DIR *dir;

	slabinfo_fd = need("/proc/slabinfo", open("/proc/slabinfo", O_RDONLY | O_CLOEXEC));
	drop_caches_fd = need("drop_caches", open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC));
	dir = opendir("/sys/kernel/slab");
	if (!dir)
		die("/sys/kernel/slab");
	while ((entry = readdir(dir)) && shrink_count < 512) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", entry->d_name);
		shrink_fds[shrink_count++] = need(path, open(path, O_WRONLY | O_CLOEXEC));
	}
	closedir(dir);
}

/* Waits for what RCU still has. */
static void wait_for_rcu(void)
{
	need("membarrier", syscall(SYS_membarrier, 1 /* MEMBARRIER_CMD_GLOBAL */, 0, 0));
}

static void shrink_caches(void)
{
	/* Twice, as what is freed may hold something else. */
	wait_for_rcu();
	wait_for_rcu();
	need("drop_caches", write(drop_caches_fd, "2", 1));
	usleep(100000);
	for (int i = 0; i < shrink_count; i++)
		need("shrink", write(shrink_fds[i], "1", 1));
	/* That has queued what kfree_rcu() had collected; callbacks may run a little later. */
	wait_for_rcu();
	usleep(100000);
}

static void read_caches(struct caches *caches)
{
	char *line;

	need("/proc/slabinfo", lseek(slabinfo_fd, 0, SEEK_SET));
	caches->count = 0;
	for (line = strtok(read_fd("/proc/slabinfo", slabinfo_fd), "\n"); line; line = strtok(NULL, "\n")) {
		struct cache *cache = &caches->cache[caches->count];

		if (sscanf(line, "%47s %ld", cache->name, &cache->objects) != 2)
			continue;
		/*
		 * Of those who look for errors; and addresses that vunmap() frees later, many at
		 * once. What it frees at once, a vm_struct for each, is counted.
		 */
		if (!strncmp(line, "kmemleak", 8) || !strncmp(line, "debug_objects", 13) ||
		    !strncmp(line, "vmap_area", 9))
			continue;
		if (++caches->count == 512) {
			fprintf(stderr, "there are too many slab caches\n");
			exit(1);
		}
	}
}

/*
 * Frees what is only kept for later, and counts the rest: twice, on one CPU, as each keeps
 * some objects, and others may use memory meanwhile.
 */
static void count_caches(struct caches *caches)
{
	static struct caches again;
	cpu_set_t all, one;

	if (!shrink_count)
		open_caches();
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	need("affinity", sched_getaffinity(0, sizeof(all), &all));
	need("affinity", sched_setaffinity(0, sizeof(one), &one));
	shrink_caches();
	read_caches(caches);
	shrink_caches();
	read_caches(&again);
	need("affinity", sched_setaffinity(0, sizeof(all), &all));
	for (int i = 0; i < caches->count; i++)
		for (int j = 0; j < again.count; j++)
			if (!strcmp(caches->cache[i].name, again.cache[j].name) &&
			    caches->cache[i].objects > again.cache[j].objects)
				caches->cache[i].objects = again.cache[j].objects;

	need("stat_refresh", write_file("/proc/sys/vm/stat_refresh", "1"));
	caches->shmem = read_number("/proc/meminfo", "Shmem:");
}

/*
 * Says in text what there is more of: caches with this many objects more, or as many pages
 * of shared memory.
 */
static void compare_caches(const struct caches *before, const struct caches *after, long least,
			   char *text, size_t size)
{
	for (int i = 0; i < after->count; i++)
		for (int j = 0; j < before->count; j++) {
			long more = after->cache[i].objects - before->cache[j].objects;
			size_t used = strlen(text);

			if (!strcmp(after->cache[i].name, before->cache[j].name) && more >= least)
				snprintf(text + used, size - used, "; %ld objects more in %s", more,
					 after->cache[i].name);
		}
	if ((after->shmem - before->shmem) / 4 >= least)
		snprintf(text + strlen(text), size - strlen(text), "; %ld KB more of shared memory",
			 after->shmem - before->shmem);
}

