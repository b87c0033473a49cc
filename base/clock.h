/* The monotonic clock, in milliseconds and microseconds. */

#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/*
 * Milliseconds. Names ending in _at and _deadline are instants of
 * CLOCK_MONOTONIC; names ending in _timeout, and macros in _MS, are spans.
 */
typedef int64_t msec;
#define NEVER INT64_MAX /* the deadline of a wait without end */

/* Returns the current time of CLOCK_MONOTONIC. */
msec now_ms(void);

/* Returns the current time of CLOCK_MONOTONIC in microseconds. */
int64_t now_us(void);

/* Returns the smaller of two times. */
msec msec_min(msec a, msec b);

/* Returns the timeout of poll(2) until an instant: 0 or more, -1 for NEVER. */
int poll_timeout(msec at);

/*
 * Returns the deadline of a timeout that starts at start_at; NEVER if it is 0.
 */
msec deadline_after(msec start_at, msec timeout);

/*
 * Writes the time of UTC with milliseconds, as 2026-11-30T00:14:05.123Z, into
 * 26 bytes. Opens no file, as gmtime_r(3) may.
 */
void clock_format_utc(char *text);

#endif
