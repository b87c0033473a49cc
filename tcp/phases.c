/* Keeps lists of the connections in each phase. */

/*
 * Theory of operation
 *
 * A connection is in one phase at a time. Each phase has a list of its
 * connections. A connection moves to the end of the list when it enters the
 * phase or has an event. The time limit is the same for all connections of a
 * phase, so that the head of the list is the first to time out. The exceptions
 * are PH_RESOLVING and PH_CONNECTING: their connections have different
 * deadlines, in a heap (timers.c).
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "tcp/phases.h"

#include "base/clock.h"
#include "base/memory.h"
#include "tcp/timers.h"

struct phase_link {
	uint32_t older, newer;
	uint8_t phase;
	msec since; /* time when the connection moved to the end of its list */
};

int
phases_init(struct phases *p, uint32_t capacity)
{
	p->capacity = capacity;
	p->links = memory_map(NULL, (size_t)capacity + PHASES,
	    sizeof(*p->links), MAP_PRIVATE | MAP_NORESERVE);
	if (!p->links)
		return -1;
	for (uint32_t head = capacity; head < capacity + PHASES; head++)
		p->links[head].older = p->links[head].newer = head;
	return timers_init(&p->timers, capacity);
}

enum phase
phase_of(const struct phases *p, uint32_t i)
{
	return (enum phase)p->links[i].phase;
}

void
phase_leave(struct phases *p, uint32_t i)
{
	struct phase_link *c = &p->links[i];

	if (!c->phase)
		return;
	p->links[c->older].newer = c->newer;
	p->links[c->newer].older = c->older;
	if (c->phase == PH_RESOLVING || c->phase == PH_CONNECTING)
		timers_clear(&p->timers, i);
	c->phase = PH_FREE;
}

void
phase_enter(struct phases *p, uint32_t i, enum phase phase)
{
	uint32_t head = p->capacity + phase;
	struct phase_link *c = &p->links[i];

	phase_leave(p, i);
	c->phase = (uint8_t)phase;
	c->since = p->timeouts[phase] ? now_ms() : 0;
	c->newer = head;
	c->older = p->links[head].older;
	p->links[c->older].newer = i;
	p->links[head].older = i;
}

void
phase_enter_until(struct phases *p, uint32_t i, enum phase phase, msec deadline)
{
	phase_enter(p, i, phase);
	timers_set(&p->timers, i, deadline);
}

uint32_t
phase_oldest(const struct phases *p, enum phase phase)
{
	return p->links[p->capacity + phase].newer;
}

uint32_t
phase_newest(const struct phases *p, enum phase phase)
{
	return p->links[p->capacity + phase].older;
}

uint32_t
phase_next(const struct phases *p, uint32_t i)
{
	return p->links[i].newer;
}

msec
phases_earliest(const struct phases *p, uint32_t *i)
{
	msec first = timers_earliest(&p->timers, i);

	for (int phase = PH_RETRYING; phase < PH_RUNNABLE; phase++) {
		uint32_t oldest = phase_oldest(p, phase);
		msec at = NEVER;

		if (oldest < p->capacity && p->timeouts[phase])
			at = p->links[oldest].since + p->timeouts[phase];
		if (at < first) {
			first = at;
			*i = oldest;
		}
	}
	return first;
}
