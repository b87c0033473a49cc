/* The monotonic clock, in milliseconds. */

#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* An instant of CLOCK_MONOTONIC, or a span where the name says so. */
typedef int64_t msec;
#define NEVER INT64_MAX

/* Returns the current time of CLOCK_MONOTONIC. */
msec now_ms(void);

#endif
