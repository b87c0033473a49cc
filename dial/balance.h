/* The order in which targets are tried. */

#ifndef DIAL_BALANCE_H
#define DIAL_BALANCE_H

#include <stddef.h>
#include <stdint.h>

struct conn;

/* The targets that failed within the last 10 s, a bit for each. */
uint64_t balance_backoff(const struct conn *);

/* The next target that was not tried; first those not in backoff. */
size_t balance_next(const struct conn *, uint64_t tried, uint64_t backoff);

/* From now on that target is in backoff. */
void balance_failed(const struct conn *, size_t target);

#endif
