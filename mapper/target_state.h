/* Which targets of a map are down, as its connections and flows have found. */

#ifndef MAPPER_TARGET_STATE_H
#define MAPPER_TARGET_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct map;

#define TARGET_STATES 128

/*
 * The states of a map: that of a number is at number % TARGET_STATES, unless
 * another number has taken that entry. `since` is 0 if the state is not known;
 * or when the target went down; or, negated, when the last connection began
 * that the target accepted. Over UDP, a target goes down when it refuses a
 * datagram, and "accepted" means that it has sent one.
 */
struct target_states {
	_Atomic bool any_down; /* see targets_any_down() */
	struct target_state {
		_Atomic msec since;
		_Atomic uint32_t number; /* see target_number() */
	} items[TARGET_STATES];
};

/*
 * Returns the number of the port of a target that clients of a listening port
 * get, which is counted from the first one.
 */
uint32_t target_number(const struct map *, uint32_t target, uint32_t port);

/*
 * Notes that a target failed at a time. Returns false if it was down before, or
 * has accepted a connection that began later.
 */
bool target_set_down(struct target_states *, uint32_t number, msec at);

/* Notes that all ports of all targets are down since a time. */
void targets_set_down(struct target_states *, const struct map *, msec at);

/*
 * Notes that a target accepted a connection that began at started_at. Returns
 * when the target went down, or 0 if it was not down at started_at.
 */
msec target_set_up(struct target_states *, uint32_t number, msec started_at);

/* Returns true if an entry is down, and sets any_down to that. */
bool targets_any_down(struct target_states *);

/* Returns how many ports a map listens on. */
uint32_t map_ports(const struct map *);

/* Returns how many ports a target has. */
uint32_t target_ports(const struct map *, uint32_t target);

/*
 * Returns how many ports of a target are known to be down, and sets *any_up if
 * one is known to be up.
 */
uint32_t target_ports_down(const struct target_states *, const struct map *,
    uint32_t target, bool *any_up);

#endif
