/* Deadlines of many connections: which is the first. */

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "tcp/timers.h"

struct timer {
	msec at;
	uint32_t heap_pos; /* in the heap; 0: not there */
};

/* Untouched pages cost nothing. */
static void *
allocate(size_t n, size_t size)
{
	void *p = mmap(NULL, n * size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int
timers_init(struct timers *t, uint32_t capacity)
{
	t->timers = allocate(capacity, sizeof(*t->timers));
	t->heap = allocate((size_t)capacity + 1, sizeof(*t->heap));
	return t->timers && t->heap ? 0 : -1;
}

static msec
heap_at(const struct timers *t, uint32_t place)
{
	return t->timers[t->heap[place]].at;
}

static void
heap_put(struct timers *t, uint32_t place, uint32_t i)
{
	t->heap[place] = i;
	t->timers[i].heap_pos = place;
}

/* Moves those that are later down, and returns the place that is free then. */
static uint32_t
sift_up(struct timers *t, uint32_t place, msec when)
{
	for (; place > 1 && heap_at(t, place / 2) > when; place /= 2)
		heap_put(t, place, t->heap[place / 2]);
	return place;
}

/* The same with those that are earlier, up. */
static uint32_t
sift_down(struct timers *t, uint32_t place, msec when)
{
	uint32_t next;

	for (; (next = 2 * place) <= t->count; place = next) {
		if (next < t->count && heap_at(t, next + 1) < heap_at(t, next))
			next++;
		if (heap_at(t, next) >= when)
			break;
		heap_put(t, place, t->heap[next]);
	}
	return place;
}

void
timers_set(struct timers *t, uint32_t i, msec when)
{
	if (when == NEVER)
		return;
	t->timers[i].at = when;
	t->count++;
	heap_put(t, sift_up(t, t->count, when), i);
}

/* The last of the heap comes to its place, and goes on from there. */
void
timers_clear(struct timers *t, uint32_t i)
{
	uint32_t place = t->timers[i].heap_pos, last;

	if (!place)
		return;
	t->timers[i].heap_pos = 0;
	last = t->heap[t->count--];
	if (last == i)
		return;
	place = sift_up(t, place, t->timers[last].at);
	heap_put(t, sift_down(t, place, t->timers[last].at), last);
}

msec
timers_earliest(const struct timers *t, uint32_t *i)
{
	if (!t->count)
		return NEVER;
	*i = t->heap[1];
	return heap_at(t, 1);
}
