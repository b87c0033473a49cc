/* Maps the scoreboard, limits who can write to it, and sums up its counters. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mapper/scoreboard.h"

const msec histogram_dial[HISTOGRAM_BUCKETS] = {1, 5, 10, 25, 50, 100, 250,
    1000, 5000, 10000};
const msec histogram_life[HISTOGRAM_BUCKETS] = {10, 100, 1000, 5000, 30000,
    60000, 300000, 1800000, 3600000, 86400000};

void
histogram_add(_Atomic uint64_t *counts, enum count histogram, msec value)
{
	const msec *bounds =
	    histogram == COUNT_DIAL ? histogram_dial : histogram_life;
	int i = 0;

	while (i < HISTOGRAM_BUCKETS && value > bounds[i])
		i++;
	atomic_fetch_add(&counts[histogram + i], 1);
	atomic_fetch_add(&counts[histogram + HISTOGRAM_BUCKETS + 1],
	    (uint64_t)value);
}

void
scoreboard_set_error(struct mapper_error *e, int error, int hop_status,
    uint32_t target, const union sockaddr_inet *peer)
{
	static const union sockaddr_inet none;

	e->error = error;
	e->hop_status = hop_status;
	e->target = target;
	e->peer = peer ? *peer : none;
	e->at = now_ms();
}

static size_t
scoreboard_size(const struct scoreboard *s)
{
	return s->first_page + MAPPERS_MAX * s->page_size;
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
	struct scoreboard *s =
	    mmap(NULL, scoreboard_size(&sizes), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (s == MAP_FAILED)
		return NULL;
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

static int
confine_range(char *begin, const char *end, bool readable)
{
	const size_t length = (size_t)(end - begin);

	if (!length)
		return 0;
	return readable ? mprotect(begin, length, PROT_READ)
			: munmap(begin, length);
}

int
scoreboard_confine(struct scoreboard *s, size_t slot, bool readable)
{
	char *own = page_of(s, slot), *next = own + s->page_size;
	const char *end = (char *)s + scoreboard_size(s);

	if (confine_range(next, end, readable) == -1)
		return -1;
	return confine_range((char *)s, own, readable);
}

int
scoreboard_hide(struct scoreboard *s)
{
	return madvise(s, scoreboard_size(s), MADV_DONTFORK);
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
