/* Deadlines of many connections: which is the first. */

#include <sys/mman.h>

#include "tcp.h"

struct timer {
	deadline at;
	uint32_t place; /* in the heap; 0: not there */
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
timers_init(struct timers *t, uint32_t room)
{
	t->timer = allocate(room, sizeof(*t->timer));
	t->heap = allocate((size_t)room + 1, sizeof(*t->heap));
	return t->timer && t->heap ? 0 : -1;
}

static deadline
at(const struct timers *t, uint32_t place)
{
	return t->timer[t->heap[place]].at;
}

static void
put(struct timers *t, uint32_t place, uint32_t i)
{
	t->heap[place] = i;
	t->timer[i].place = place;
}

/* Moves those that are later down, and returns the place that is free then. */
static uint32_t
rise(struct timers *t, uint32_t place, deadline when)
{
	for (; place > 1 && at(t, place / 2) > when; place /= 2)
		put(t, place, t->heap[place / 2]);
	return place;
}

/* The same with those that are earlier, up. */
static uint32_t
sink(struct timers *t, uint32_t place, deadline when)
{
	uint32_t next;

	for (; (next = 2 * place) <= t->count; place = next) {
		if (next < t->count && at(t, next + 1) < at(t, next))
			next++;
		if (at(t, next) >= when)
			break;
		put(t, place, t->heap[next]);
	}
	return place;
}

void
timers_set(struct timers *t, uint32_t i, deadline when)
{
	if (when == NEVER)
		return;
	t->timer[i].at = when;
	t->count++;
	put(t, rise(t, t->count, when), i);
}

/* The last of the heap comes to its place, and goes on from there. */
void
timers_clear(struct timers *t, uint32_t i)
{
	uint32_t place = t->timer[i].place, last;

	if (!place)
		return;
	t->timer[i].place = 0;
	last = t->heap[t->count--];
	if (last == i)
		return;
	place = rise(t, place, t->timer[last].at);
	put(t, sink(t, place, t->timer[last].at), last);
}

deadline
timers_first(const struct timers *t, uint32_t *i)
{
	if (!t->count)
		return NEVER;
	*i = t->heap[1];
	return at(t, 1);
}
