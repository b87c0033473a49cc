/* The monotonic clock, in milliseconds. */

#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds: a point of CLOCK_MONOTONIC, or a span where the name says. */
typedef int64_t msec;
#define NEVER INT64_MAX

/* The current time of CLOCK_MONOTONIC. */
msec now_ms(void);

/* Returns the smaller of two; NEVER is greater than all. */
msec msec_min(msec a, msec b);

#endif
