/* Finds the earliest of the deadlines of many connections. */

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "tcp/timers.h"

#include "base/clock.h"
#include "base/memory.h"

struct timer {
	msec deadline;
	uint32_t heap_pos; /* 0: not in the heap */
};

int
timers_init(struct timers *t, uint32_t capacity)
{
	t->timers = memory_map(NULL, capacity, sizeof(*t->timers),
	    MAP_PRIVATE | MAP_NORESERVE);
	t->heap = memory_map(NULL, (size_t)capacity + 1, sizeof(*t->heap),
	    MAP_PRIVATE | MAP_NORESERVE);
	return t->timers && t->heap ? 0 : -1;
}

static msec
heap_deadline(const struct timers *t, uint32_t pos)
{
	return t->timers[t->heap[pos]].deadline;
}

static void
heap_put(struct timers *t, uint32_t pos, uint32_t i)
{
	t->heap[pos] = i;
	t->timers[i].heap_pos = pos;
}

/* Moves parents with a later deadline down. Returns the free position. */
static uint32_t
sift_up(struct timers *t, uint32_t pos, msec deadline)
{
	for (; pos > 1 && heap_deadline(t, pos / 2) > deadline; pos /= 2)
		heap_put(t, pos, t->heap[pos / 2]);
	return pos;
}

/* Moves children with an earlier deadline up. Returns the free position. */
static uint32_t
sift_down(struct timers *t, uint32_t pos, msec deadline)
{
	uint32_t child;

	for (; (child = 2 * pos) <= t->count; pos = child) {
		if (child < t->count &&
		    heap_deadline(t, child + 1) < heap_deadline(t, child))
			child++;
		if (heap_deadline(t, child) >= deadline)
			break;
		heap_put(t, pos, t->heap[child]);
	}
	return pos;
}

void
timers_set(struct timers *t, uint32_t i, msec deadline)
{
	if (deadline == NEVER)
		return;
	t->timers[i].deadline = deadline;
	t->count++;
	heap_put(t, sift_up(t, t->count, deadline), i);
}

/* The last connection of the heap fills the gap. */
void
timers_clear(struct timers *t, uint32_t i)
{
	uint32_t pos = t->timers[i].heap_pos, last;

	if (!pos)
		return;
	t->timers[i].heap_pos = 0;
	last = t->heap[t->count--];
	if (last == i)
		return;
	pos = sift_up(t, pos, t->timers[last].deadline);
	heap_put(t, sift_down(t, pos, t->timers[last].deadline), last);
}

msec
timers_earliest(const struct timers *t, uint32_t *i)
{
	if (!t->count)
		return NEVER;
	*i = t->heap[1];
	return heap_deadline(t, 1);
}
