/* Deadlines of many connections. */

#ifndef TCP_TIMERS_H
#define TCP_TIMERS_H

#include <stdint.h>

#include "base/clock.h"

/* Which of many connections is late first: a heap of their deadlines. */
struct timers {
	uint32_t *heap; /* numbers of connections, the first is at [1] */
	uint32_t count;
	struct timer *timers; /* of each connection */
};

/* For so many connections. -1 with errno. */
int timers_init(struct timers *, uint32_t capacity);

/* Sets the one of a connection that has none; NEVER: none. */
void timers_set(struct timers *, uint32_t i, msec at);
void timers_clear(struct timers *, uint32_t i);

/* The earliest deadline, and whose it is; NEVER if there is none. */
msec timers_earliest(const struct timers *, uint32_t *i);

#endif
