/* Writes the log: one event is one line and one write(2). */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

#include "base/clock.h"

#define LINE_SIZE    1024
#define WARNINGS_MAX 16
#define TIME_SIZE    26

/* Values of syslog(3), whose LOG_ names log.h uses for levels. */
#define FACILITY_DAEMON  (3 << 3)
#define PRIORITY_ERR     3
#define PRIORITY_WARNING 4
#define PRIORITY_INFO    6

static enum log_level max_level = LOG_NORMAL;

/* How lines are written to descriptor 2. */
static struct log_sink {
	const char *prefix; /* after the priority */
	int facility;       /* in the priority of a line; -1: no priority */
	bool syslog;
	int stderr_copy; /* a second destination, or -1 */
	bool time, colour;
} log_sink = {"nsfwd: ", -1, false, -1, false, false};

static bool (*diverted)(const char *line, size_t head, size_t length);

/* A kind of warning, for log_ratelimited(). */
static struct warning {
	const char *fmt;
	msec next_at;
	unsigned skipped;
} warnings[WARNINGS_MAX];

void
log_level(enum log_level level)
{
	max_level = level;
}

bool
log_enabled(enum log_level level)
{
	return level <= max_level;
}

/*
 * Appends text to a line that has `used` bytes. Control bytes become "\xNN", so
 * that no text can forge a line or change the terminal. Returns the new length.
 */
static size_t
escape(char *line, size_t used, const char *text)
{
	static const char hex[] = "0123456789abcdef";

	for (; *text && used < LINE_SIZE - 5; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c != 0x7f) {
			line[used++] = (char)c;
			continue;
		}
		line[used++] = '\\';
		line[used++] = 'x';
		line[used++] = hex[c >> 4];
		line[used++] = hex[c & 15];
	}
	return used;
}

/* Returns true if standard error is the journal, see systemd.exec(5). */
static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char own[48];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) == -1)
		return false;
	snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)st.st_dev,
	    (unsigned long long)st.st_ino);
	return strcmp(stream, own) == 0;
}

/*
 * Reopens standard error without blocking, if it is a pipe, because another
 * process may fill the pipe between poll(2) and write(2). Other processes that
 * share the old descriptor are not affected.
 */
static void
reopen_stderr_nonblock(void)
{
	struct stat st;
	int fd = -1;

	if (fstat(STDERR_FILENO, &st) == 0 && S_ISFIFO(st.st_mode))
		fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd != -1 && dup2(fd, STDERR_FILENO) != -1)
		close(fd);
}

void
log_init(void)
{
	if (stderr_is_journal())
		log_sink = (struct log_sink){"", 0, false, -1, false, false};
}

/* The socket replaces descriptor 2 because every process keeps descriptor 2. */
int
log_open(bool syslog)
{
	int fd;

	reopen_stderr_nonblock();
	if (!syslog)
		return 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	log_sink.stderr_copy =
	    fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (fd == -1 || log_sink.stderr_copy == -1 ||
	    dup2(fd, STDERR_FILENO) == -1)
		return -1;
	close(fd);
	log_sink.syslog = true;
	log_sink.prefix = "nsfwd: ";
	log_sink.facility = FACILITY_DAEMON;
	return 0;
}

void
log_with_time(void)
{
	log_sink.time = log_sink.facility == -1;
}

void
log_with_colour(void)
{
	const char *off = getenv("NO_COLOR");

	log_sink.colour = isatty(STDERR_FILENO) && !(off && *off);
}

void
log_close_stderr(void)
{
	if (log_sink.stderr_copy != -1)
		close(log_sink.stderr_copy);
	log_sink.stderr_copy = -1;
}

/*
 * Writes a line. Returns false, instead of waiting, if the reader of the log is
 * too slow. The syslog socket is not connected, so that a restart of the syslog
 * daemon does not matter.
 */
static bool
write_line(const char *line, size_t length)
{
	static const struct sockaddr_un un = {.sun_family = AF_UNIX,
	    .sun_path = "/dev/log"};
	struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
	const void *addr = &un;
	ssize_t n;

	if (poll(&out, 1, 0) == 0)
		return false;
	do
		n = log_sink.syslog
		    ? sendto(STDERR_FILENO, line, length,
			  MSG_DONTWAIT | MSG_NOSIGNAL, addr, sizeof(un))
		    : write(STDERR_FILENO, line, length);
	while (n == -1 && errno == EINTR);
	return n != -1 || errno != EAGAIN;
}

void
log_divert(bool (*function)(const char *line, size_t head, size_t length))
{
	diverted = function;
}

void
log_write(const char *line, size_t length)
{
	write_line(line, length);
}

/*
 * Writes "nsfwd: ", in colour or not, and the time. Returns the length. The
 * line has room.
 */
static size_t
format_prefix(char *line, int priority)
{
	static const char *const colours[] = {
	    [PRIORITY_ERR] = "\033[31m",
	    [PRIORITY_WARNING] = "\033[33m",
	    [PRIORITY_INFO] = "\033[32m",
	};
	bool colour = log_sink.colour && !log_sink.syslog;
	char text[TIME_SIZE] = "";

	if (log_sink.time)
		clock_format_utc(text);
	return (size_t)snprintf(line, LINE_SIZE, "%s%s%s%s%s",
	    colour ? colours[priority] : "", log_sink.prefix,
	    colour ? "\033[0m" : "", text, *text ? " " : "");
}

/*
 * Writes one line, with the number of lines that were skipped or have failed.
 */
__attribute__((format(printf, 2, 0))) static void
write_event(int priority, const char *fmt, va_list ap, unsigned skipped)
{
	static unsigned lost;
	char text[LINE_SIZE], line[LINE_SIZE];
	size_t used = 0, head = 0, begin;
	int saved = errno;

	if (log_sink.facility != -1)
		head = (size_t)snprintf(line, sizeof(line), "<%d>",
		    log_sink.facility + priority);
	used = begin = head + format_prefix(line + head, priority);
	vsnprintf(text, sizeof(text), fmt, ap);
	used = escape(line, used, text);
	skipped += lost;
	if (skipped) {
		snprintf(text, sizeof(text), " (%u left out)", skipped);
		used = escape(line, used, text);
	}
	line[used++] = '\n';
	if (!diverted || !diverted(line, begin, used))
		lost = write_line(line, used) ? 0 : skipped + 1;
	if (log_sink.stderr_copy != -1 &&
	    write(log_sink.stderr_copy, line + head, used - head) == -1)
		log_close_stderr();
	errno = saved;
}

void
log_line(enum log_level level, const char *fmt, ...)
{
	static const int priority[] = {
	    [LOG_QUIET] = PRIORITY_ERR,
	    [LOG_WARNING] = PRIORITY_WARNING,
	    [LOG_NORMAL] = PRIORITY_INFO,
	    [LOG_VERBOSE] = PRIORITY_INFO,
	};
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	write_event(priority[level], fmt, ap, 0);
	va_end(ap);
}

/* Returns the entry of a format. Formats without one share the last entry. */
static struct warning *
find_warning(const char *fmt)
{
	struct warning *w = warnings, *last = warnings + WARNINGS_MAX - 1;

	while (w < last && w->fmt && w->fmt != fmt)
		w++;
	w->fmt = fmt;
	return w;
}

void
log_ratelimited(const char *fmt, ...)
{
	struct warning *w = find_warning(fmt);
	msec now = now_ms();
	va_list ap;

	if (now < w->next_at) {
		w->skipped++;
		return;
	}
	w->next_at = now + 1000;
	va_start(ap, fmt);
	write_event(PRIORITY_WARNING, fmt, ap, w->skipped);
	va_end(ap);
	w->skipped = 0;
}

/* Copies a format, with "..." in place of each conversion, such as %llu. */
static const char *
describe_format(char *buf, size_t size, const char *fmt)
{
	size_t used = 0;

	for (; *fmt && used + 4 < size; fmt++) {
		if (*fmt != '%') {
			buf[used++] = *fmt;
			continue;
		}
		if (used < 3 || memcmp(buf + used - 3, "...", 3) != 0)
			used += (size_t)snprintf(buf + used, 4, "...");
		fmt += 1 + strspn(fmt + 1, "lz");
	}
	buf[used] = '\0';
	return buf;
}

void
log_left_out(void)
{
	char kind[LOGFMT_SIZE];

	for (struct warning *w = warnings; w < warnings + WARNINGS_MAX; w++) {
		if (w->skipped)
			log_line(LOG_WARNING, "%u more %s left out of: %s",
			    w->skipped, w->skipped == 1 ? "line" : "lines",
			    describe_format(kind, sizeof(kind), w->fmt));
		w->skipped = 0;
	}
}

const char *
logfmt(char *buf, const char *value)
{
	size_t used = 0;

	if (*value && !value[strcspn(value, " =\"")])
		return value;
	buf[used++] = '"';
	for (; *value && used < LOGFMT_SIZE - 3; value++) {
		if (*value == '"' || *value == '\\')
			buf[used++] = '\\';
		buf[used++] = *value;
	}
	buf[used++] = '"';
	buf[used] = '\0';
	return buf;
}
