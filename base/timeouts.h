/* The time limits of connections and flows. */

#ifndef BASE_TIMEOUTS_H
#define BASE_TIMEOUTS_H

#include "base/clock.h"

/* Spans in milliseconds; 0 is none. */
struct timeouts {
	msec connect;
	msec idle;
	msec half_close;
	msec udp_one_way; /* a UDP flow that was not answered */
	msec udp;         /* one that was */
};

#endif
