/* Maps the scoreboard, limits who can write to it, and sums up its counters. */

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include "mapper/scoreboard.h"

#include "base/fd.h"
#include "base/report.h"

/* Linux 5.1; the C library may be older. */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif

const msec histogram_dial[HISTOGRAM_BUCKETS] = {1, 5, 10, 25, 50, 100, 250,
    1000, 5000, 10000};
const msec histogram_life[HISTOGRAM_BUCKETS] = {10, 100, 1000, 5000, 30000,
    60000, 300000, 1800000, 3600000, 86400000};

void
histogram_add(_Atomic uint64_t *counts, enum count histogram, int64_t us)
{
	const msec *bounds =
	    histogram == COUNT_DIAL ? histogram_dial : histogram_life;
	int i = 0;

	while (i < HISTOGRAM_BUCKETS && us > bounds[i] * 1000)
		i++;
	atomic_fetch_add(&counts[histogram + i], 1);
	atomic_fetch_add(&counts[histogram + HISTOGRAM_BUCKETS + 1],
	    (uint64_t)us);
}

void
scoreboard_set_error(struct mapper_error *e, const struct conn_report *r)
{
	e->error = r->error;
	e->hop_status = r->hop_status;
	e->target = r->target;
	e->peer = r->peer;
	e->server = r->server;
	e->at = now_ms();
}

_Static_assert(sizeof(struct mapper_counts) <= 4096, "it has one page");

static size_t
scoreboard_size(const struct scoreboard *s)
{
	return s->first_page + MAPPERS_MAX * s->page_size;
}

/*
 * Returns a file in memory of that size, or -1 if there is none. ftruncate(2)
 * above RLIMIT_FSIZE would end the process.
 */
static int
open_memory_file(size_t size)
{
	struct rlimit limit;
	int fd;

	if (getrlimit(RLIMIT_FSIZE, &limit) == -1 || limit.rlim_cur < size)
		return -1;
	fd = memfd_create("scoreboard", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd != -1 && ftruncate(fd, (off_t)size) == -1
	    ? close_keep_errno(fd)
	    : fd;
}

/*
 * Maps the file again, read-only. Because of F_SEAL_FUTURE_WRITE (Linux 5.1),
 * that cannot be made writable. Closes fd. Returns NULL without a file.
 */
static void *
map_readonly(int fd, size_t size)
{
	void *p;

	if (fd == -1)
		return NULL;
	fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

/* A page takes memory when it is touched first. */
struct scoreboard *
scoreboard_create(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const struct scoreboard sizes = {
	    .page_size = page,
	    .first_page = (sizeof(sizes) + page - 1) / page * page,
	};
	const size_t size = scoreboard_size(&sizes);
	const int fd = open_memory_file(size);
	struct scoreboard *s = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE | (fd == -1 ? MAP_ANONYMOUS : 0), fd, 0);

	if (s == MAP_FAILED)
		return NULL;
	s->readonly = map_readonly(fd, size);
	s->page_size = sizes.page_size;
	s->first_page = sizes.first_page;
	return s;
}

static char *
page_of(struct scoreboard *s, size_t slot)
{
	return (char *)s + s->first_page + slot * s->page_size;
}

struct mapper_counts *
scoreboard_counts(struct scoreboard *s, size_t slot)
{
	void *counts = page_of(s, slot);

	return counts;
}

/*
 * Unmaps a range; or, if it is to be readable, replaces it by its read-only
 * mapping `by`, or makes it read-only.
 */
static int
confine_range(char *begin, const char *end, bool readable, char *by)
{
	const size_t length = (size_t)(end - begin);

	if (!length)
		return 0;
	if (!readable)
		return munmap(begin, length);
	if (!by)
		return mprotect(begin, length, PROT_READ);
	return mremap(by, length, length, MREMAP_MAYMOVE | MREMAP_FIXED,
		   begin) == MAP_FAILED
	    ? -1
	    : 0;
}

int
scoreboard_confine(struct scoreboard *s, size_t slot, bool readable)
{
	const size_t size = scoreboard_size(s);
	char *begin = (char *)s, *ro = s->readonly;
	char *own = page_of(s, slot), *next = own + s->page_size;

	if (confine_range(next, begin + size, readable,
		ro ? ro + (next - begin) : NULL) == -1 ||
	    confine_range(begin, own, readable, ro) == -1)
		return -1;
	return ro ? munmap(ro, size) : 0; /* the rest of it */
}

int
scoreboard_hide(struct scoreboard *s)
{
	const size_t size = scoreboard_size(s);

	if (s->readonly && madvise(s->readonly, size, MADV_DONTFORK) == -1)
		return -1;
	return madvise(s, size, MADV_DONTFORK);
}

uint32_t
scoreboard_live(struct scoreboard *s, size_t slot)
{
	const uint32_t live = scoreboard_counts(s, slot)->live;
	const uint32_t max = s->max_open[slot];

	return live <= max || live - max <= s->processes[slot]
	    ? live
	    : max + s->processes[slot];
}

void
scoreboard_sum(struct scoreboard *s, size_t slot, uint64_t *of_service,
    uint64_t *of_all)
{
	const uint32_t service = s->service[slot], used = s->used;

	*of_service = *of_all = 0;
	for (uint32_t i = 0; i < used && i < MAPPERS_MAX; i++) {
		const uint32_t live =
		    s->max_open[i] ? scoreboard_live(s, i) : 0;

		*of_all += live;
		if (s->service[i] == service)
			*of_service += live;
	}
}
