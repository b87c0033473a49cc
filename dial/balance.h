/* The order in which the targets of a map are tried. */

#ifndef DIAL_BALANCE_H
#define DIAL_BALANCE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"
#include "config/map.h"

struct conn;

/*
 * The last failure of each port of each target, in memory of all processes of a
 * map: that of a number is at number % balance_failures_size(), unless another
 * number has taken that entry since.
 */
struct target_failures {
	_Atomic uint32_t count;                   /* of all failures */
	_Atomic msec unreachable_at[TARGETS_MAX]; /* of the host of a target */
	struct target_failure {
		_Atomic msec at;                  /* 0: there was none */
		int32_t error, hop_status;        /* as in a report */
		uint32_t number;                  /* see target_number() */
		union sockaddr_inet peer, server; /* as in a report */
	} items[];
};

/* Returns how many items the failures of a map have. */
uint32_t balance_failures_size(const struct map *);

/*
 * Returns the targets that failed within the last 10 s at the port of the
 * connection, or whose host was unreachable: bit i is target i.
 */
uint64_t balance_backoff(const struct conn *);

/*
 * Returns the next target that is not in the set of tried ones, in the order of
 * balance=, or n_targets if there is none. Targets in backoff come last.
 */
size_t balance_next(const struct conn *, uint64_t tried, uint64_t backoff);

/*
 * Notes that a target failed now with that errno, for this and later
 * connections to the same port and for the log. Without an answer of the host,
 * it counts for all ports. The report has its address.
 */
void balance_failed(const struct conn *, size_t target, int error);

#endif
