/* Writes the log: one event is one line and one write(2). */

#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#define EXIT_USAGE 2 /* what the user gave cannot be used; has been logged */

enum log_level {
	LOG_QUIET,   /* errors */
	LOG_WARNING, /* also targets that fail, clients that are refused */
	LOG_NORMAL,  /* also start, stop, other connections that failed */
	LOG_VERBOSE  /* also every connection */
};

/* Sets the most detailed level that is written; LOG_NORMAL at the start. */
void log_level(enum log_level);

/* Returns true if lines of that level are written. */
bool log_enabled(enum log_level);

/* Puts a priority in front of each line if standard error is the journal. */
void log_init(void);

/*
 * Selects where lines go: to syslog, whose socket then replaces descriptor 2,
 * or to standard error. With syslog, lines also go to the former standard error
 * until log_close_stderr(). Returns 0, or -1 with errno.
 */
int log_open(bool syslog);
void log_close_stderr(void);

/*
 * Adds the time of UTC to later lines on standard error, unless that is the
 * journal. Earlier lines have no time, because a user sees them at once.
 */
void log_with_time(void);

/*
 * Colours the prefix of lines by their priority, if standard error is a
 * terminal and $NO_COLOR is not set.
 */
void log_with_colour(void);

/*
 * Gives each line to a function, which returns false if the line is to be
 * written at once. The text begins behind the first `head` bytes of the line.
 * NULL: no function.
 */
void log_divert(bool (*)(const char *line, size_t head, size_t length));

/* Writes a line that was diverted. */
void log_write(const char *line, size_t length);

/*
 * Writes one line, if its level is enabled. Control bytes become "\xNN".
 * Preserves errno and allocates nothing.
 */
void log_line(enum log_level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#define log_error(...) log_line(LOG_QUIET, __VA_ARGS__)
#define log_info(...)  log_line(LOG_NORMAL, __VA_ARGS__)
#define log_debug(...) log_line(LOG_VERBOSE, __VA_ARGS__)

/*
 * Writes a warning, at most one a second for each format. The next warning with
 * that format has the number of warnings that were left out.
 */
void log_ratelimited(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* Writes how many warnings of each format were left out since the last one. */
void log_left_out(void);

/*
 * Quotes a value of a log line if it holds a space, '=' or '"', as logfmt does.
 * Cuts it to LOGFMT_SIZE bytes. Returns value or buf.
 */
#define LOGFMT_SIZE 400
const char *logfmt(char *buf, const char *value);

#endif
