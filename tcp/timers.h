/* Deadlines of many connections, and which is the earliest. */

#ifndef TCP_TIMERS_H
#define TCP_TIMERS_H

#include <stdint.h>

#include "base/clock.h"

/* A binary heap of the connections that have a deadline. */
struct timers {
	uint32_t *heap; /* indices of connections; the first is heap[1] */
	uint32_t count;
	struct timer *timers; /* of each connection */
};

/* Makes room for `capacity` connections. Returns -1 with errno. */
int timers_init(struct timers *, uint32_t capacity);

/* Sets the deadline of connection i, which must have none. NEVER sets none. */
void timers_set(struct timers *, uint32_t i, msec deadline);
void timers_clear(struct timers *, uint32_t i);

/*
 * Sets *i to the connection with the earliest deadline. Returns the deadline,
 * or NEVER if there is none.
 */
msec timers_earliest(const struct timers *, uint32_t *i);

#endif
