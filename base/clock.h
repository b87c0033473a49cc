/* The monotonic clock, in milliseconds. */

#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds: a point of CLOCK_MONOTONIC, or a span where the name says. */
typedef int64_t msec;
#define NEVER INT64_MAX

/* The current time of CLOCK_MONOTONIC. */
msec now_ms(void);

/* Returns the end of a span that starts then, or NEVER for a span of 0. */
msec deadline_after(msec start_at, msec timeout);

#endif
