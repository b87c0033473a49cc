/* The phases of a worker's connections, and the order of their timeouts. */

#ifndef TCP_PHASES_H
#define TCP_PHASES_H

#include <stdint.h>

#include "base/clock.h"
#include "tcp/timers.h"

enum phase {
	PH_FREE,
	PH_RESOLVING,   /* until the deadline of the target */
	PH_CONNECTING,  /* until the deadline of the address */
	PH_RETRYING,    /* until the same address is tried again */
	PH_ESTABLISHED, /* until the idle timeout */
	PH_HALF_CLOSED, /* until the half-close timeout */
	PH_DRAINING,    /* until acknowledged bytes are polled again */
	PH_RUNNABLE,    /* until the next turn of the loop */
	PHASES
};

struct phases {
	struct phase_link *links; /* of connections; then the heads of lists */
	uint32_t capacity;
	msec timeouts[PHASES]; /* set by the caller; 0: none */
	struct timers timers;  /* deadlines of PH_RESOLVING and PH_CONNECTING */
};

/* Makes room for `capacity` connections, all free. Returns -1 with errno. */
int phases_init(struct phases *, uint32_t capacity);

enum phase phase_of(const struct phases *, uint32_t i);

/*
 * Moves connection i to the end of the list of a phase; the connection may be
 * in that list already. phase_enter() is for the phases with one timeout for
 * all connections, phase_enter_until() for PH_RESOLVING and PH_CONNECTING.
 */
void phase_enter(struct phases *, uint32_t i, enum phase);
void phase_enter_until(struct phases *, uint32_t i, enum phase, msec deadline);
void phase_leave(struct phases *, uint32_t i);

/*
 * Return the first and the last connection of a list, and the one after i;
 * `capacity` or more if there is none.
 */
uint32_t phase_oldest(const struct phases *, enum phase);
uint32_t phase_newest(const struct phases *, enum phase);
uint32_t phase_next(const struct phases *, uint32_t i);

/*
 * Returns the earliest time at which a connection times out, and sets *i to
 * that connection. Returns NEVER if none times out.
 */
msec phases_earliest(const struct phases *, uint32_t *i);

#endif
