/* The order in which the targets of a map are tried. */

#ifndef DIAL_BALANCE_H
#define DIAL_BALANCE_H

#include <stddef.h>
#include <stdint.h>

struct conn;

/* Returns the targets that failed within the last 10 s: bit i is target i. */
uint64_t balance_backoff(const struct conn *);

/*
 * Returns the next target that is not in the set of tried ones, in the order of
 * balance=, or n_targets if there is none. Targets in backoff come last.
 */
size_t balance_next(const struct conn *, uint64_t tried, uint64_t backoff);

/* Notes that a target failed now, for this and later connections. */
void balance_failed(const struct conn *, size_t target);

#endif
