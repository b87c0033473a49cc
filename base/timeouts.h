/*
 * The timeouts of connections and flows. They are defined here because both
 * relay.c, which may use base/ only, and config/ use them.
 */

#ifndef BASE_TIMEOUTS_H
#define BASE_TIMEOUTS_H

#include "base/clock.h"

/* Spans; 0 is no timeout. */
struct timeouts {
	msec connect;     /* to reach a target */
	msec idle;        /* of an open connection */
	msec half_close;  /* of a connection with one direction ended */
	msec udp_one_way; /* of a flow without an answer */
	msec udp;         /* of a flow with an answer */
};

#endif
