/* The log: one event, one line, one write. */

#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/clock.h"

enum log_level {
	LOG_QUIET,  /* errors */
	LOG_NORMAL, /* also start, stop, failed connections */
	LOG_VERBOSE /* also every connection */
};

/*
 * One event, one line, one write(2) to descriptor 2, after "nsfwd: ". Control
 * bytes are shown as "\xNN". errno is preserved. Nothing is allocated.
 */
void log_level(enum log_level);

/* True if a line of that kind is written at all. */
bool log_enabled(enum log_level least);

/*
 * Lines get a priority where standard error leads to the journal. With syslog
 * descriptor 2 becomes a socket to it, and until log_leave() lines also go to
 * what it was. -1 with errno.
 */
int log_open(bool syslog);
void log_close_stderr(void);

void log_line(enum log_level least, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#define log_error(...) log_line(LOG_QUIET, __VA_ARGS__)
#define log_info(...)  log_line(LOG_NORMAL, __VA_ARGS__)
#define log_debug(...) log_line(LOG_VERBOSE, __VA_ARGS__)

/* What is open, of the table that USR1 asks for. */
void log_open_row(const char *client, const char *target, unsigned long long up,
    unsigned long long down, msec started_at);

/* At most one line a second; says how many were left out. */
void log_ratelimited(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

#endif
