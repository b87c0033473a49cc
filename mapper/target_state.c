/* Notes which targets of a map are down. */

/*
 * Theory of operation
 *
 * A map can have more ports than there are entries. A port that is down keeps
 * its entry until it is up; another port of that entry has no state meanwhile.
 * Workers write the entries side by side, so that an entry can be wrong until
 * the next connection has ended. A hostile worker writes anything.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mapper/target_state.h"

#include "base/clock.h"
#include "config/endpoint.h"
#include "config/map.h"

uint32_t
map_ports(const struct map *map)
{
	return endpoint_ports(&map->listen);
}

uint32_t
target_ports(const struct map *map, uint32_t target)
{
	return endpoint_ports(&map->targets[target]);
}

uint32_t
target_number(const struct map *map, uint32_t target, uint32_t port)
{
	return target * map_ports(map) +
	    (target_ports(map, target) == 1 ? 0 : port);
}

bool
target_set_down(struct target_states *states, uint32_t number, msec at)
{
	struct target_state *s = &states->items[number % TARGET_STATES];
	msec since = s->since;

	if (since > 0 || (s->number == number && since + at <= 0) ||
	    !atomic_compare_exchange_strong(&s->since, &since, at))
		return false;
	s->number = number;
	states->any_down = true;
	return true;
}

void
targets_set_down(struct target_states *states, const struct map *map, msec at)
{
	for (uint32_t i = 0; i < map->n_targets; i++)
		for (uint32_t port = 0; port < target_ports(map, i); port++)
			target_set_down(states, target_number(map, i, port),
			    at);
}

msec
target_set_up(struct target_states *states, uint32_t number, msec started_at)
{
	struct target_state *s = &states->items[number % TARGET_STATES];
	msec since = s->since;

	if (started_at <= 0 || (since && s->number != number) ||
	    (since > 0 ? started_at <= since : since + started_at <= 0) ||
	    !atomic_compare_exchange_strong(&s->since, &since, -started_at))
		return 0;
	s->number = number;
	return since > 0 ? since : 0;
}

/* Clears any_down first, so that a target that goes down meanwhile sets it. */
bool
targets_any_down(struct target_states *states)
{
	states->any_down = false;
	for (int i = 0; i < TARGET_STATES; i++)
		if (states->items[i].since > 0)
			states->any_down = true;
	return states->any_down;
}

/* Returns at most the number of ports, because a mapper can forge entries. */
uint32_t
target_ports_down(const struct target_states *states, const struct map *map,
    uint32_t target, bool *any_up)
{
	const uint32_t n = map_ports(map);
	const uint32_t ports = target_ports(map, target);
	uint32_t down = 0;

	for (int i = 0; i < TARGET_STATES; i++) {
		const struct target_state *s = &states->items[i];
		const msec since = s->since;

		if (since && s->number / n == target) {
			down += since > 0;
			*any_up |= since < 0;
		}
	}
	return down < ports ? down : ports;
}
