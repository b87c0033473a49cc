/* The order in which the targets of a map are tried. */

#ifndef DIAL_BALANCE_H
#define DIAL_BALANCE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"

struct conn;

/* The last failure of each target, in memory of all processes of a map. */
struct target_failures {
	_Atomic uint32_t count; /* of all failures */
	struct target_failure {
		_Atomic msec at;           /* 0: there was none */
		int32_t error, hop_status; /* as in a report */
		uint32_t port_index;       /* as in struct conn */
		union sockaddr_inet peer;  /* as in a report */
	} items[];
};

/* Returns the targets that failed within the last 10 s: bit i is target i. */
uint64_t balance_backoff(const struct conn *);

/*
 * Returns the next target that is not in the set of tried ones, in the order of
 * balance=, or n_targets if there is none. Targets in backoff come last.
 */
size_t balance_next(const struct conn *, uint64_t tried, uint64_t backoff);

/*
 * Notes that a target failed now with that errno, for this and later
 * connections and for the log. The report has its address.
 */
void balance_failed(const struct conn *, size_t target, int error);

#endif
