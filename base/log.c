/* One event, one line, one write. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
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
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define LINE_SIZE 1024

#define FACILITY (3 << 3) /* LOG_DAEMON of syslog(3) */
#define WARNING  4        /* priorities of syslog(3) */

static enum log_level level = LOG_NORMAL;

/* Where lines go: "stderr" is a descriptor, too. */
static struct log_sink {
	const char *prefix; /* with a priority in front, if it has a facility */
	int facility;       /* -1: none */
	bool syslog;
	int stderr_copy; /* where they go as well, or -1 */
} log_sink = {"nsfwd: ", -1, false, -1};

void
log_level(enum log_level wanted)
{
	level = wanted;
}

bool
log_enabled(enum log_level least)
{
	return level >= least;
}

/*
 * Copies text behind the prefix; a byte that a terminal would act on becomes
 * "\xNN", so that nobody can forge a line or paint the screen.
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

/* $JOURNAL_STREAM names the file that the journal has made of it. */
static bool
is_journal(void)
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
 * Others may fill a pipe between a look at it and the write that then waits:
 * opened once more it is ours, and does not block.
 */
static void
unblock(void)
{
	struct stat st;
	int fd = -1;

	if (fstat(STDERR_FILENO, &st) == 0 && S_ISFIFO(st.st_mode))
		fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd != -1 && dup2(fd, STDERR_FILENO) != -1)
		close(fd);
}

/* In the place of descriptor 2, it is what all processes keep. */
int
log_open(bool syslog)
{
	int fd;

	if (!syslog && is_journal())
		log_sink = (struct log_sink){"", 0, false, -1};
	unblock();
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
	log_sink.facility = FACILITY;
	return 0;
}

void
log_close_stderr(void)
{
	if (log_sink.stderr_copy != -1)
		close(log_sink.stderr_copy);
	log_sink.stderr_copy = -1;
}

/*
 * False if nobody reads: that must not stop the service. To syslog by name each
 * time: its daemon may have been started anew.
 */
static bool
write_line(const char *line, size_t length)
{
	static const struct sockaddr_un un = {.sun_family = AF_UNIX,
	    .sun_path = "/dev/log"};
	struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
	const void *to = &un;
	ssize_t n;

	if (poll(&out, 1, 0) == 0)
		return false;
	do
		n = log_sink.syslog
		    ? sendto(STDERR_FILENO, line, length,
			  MSG_DONTWAIT | MSG_NOSIGNAL, to, sizeof(un))
		    : write(STDERR_FILENO, line, length);
	while (n == -1 && errno == EINTR);
	return n != -1 || errno != EAGAIN;
}

__attribute__((format(printf, 2, 0))) static void
write_event(int priority, const char *fmt, va_list ap, unsigned skipped)
{
	static unsigned lost;
	char text[LINE_SIZE], line[LINE_SIZE];
	size_t used = 0, head = 0;
	int saved = errno;

	if (log_sink.facility != -1)
		head = (size_t)snprintf(line, sizeof(line), "<%d>",
		    log_sink.facility + priority);
	used = head +
	    (size_t)snprintf(line + head, sizeof(line) - head, "%s",
		log_sink.prefix);
	vsnprintf(text, sizeof(text), fmt, ap);
	used = escape(line, used, text);
	skipped += lost;
	if (skipped) {
		snprintf(text, sizeof(text), " (%u left out)", skipped);
		used = escape(line, used, text);
	}
	line[used++] = '\n';
	lost = write_line(line, used) ? 0 : skipped + 1;
	if (log_sink.stderr_copy != -1 &&
	    write(log_sink.stderr_copy, line + head, used - head) == -1)
		log_close_stderr();
	errno = saved;
}

void
log_line(enum log_level least, const char *fmt, ...)
{
	va_list ap;

	static const int priority[] = {[LOG_QUIET] = 3, 6, 6};

	if (!log_enabled(least))
		return;
	va_start(ap, fmt);
	write_event(priority[least], fmt, ap, 0);
	va_end(ap);
}

void
log_ratelimited(const char *fmt, ...)
{
	static msec next;
	static unsigned skipped;
	msec at = now_ms();
	va_list ap;

	if (at < next) {
		skipped++;
		return;
	}
	next = at + 1000;
	va_start(ap, fmt);
	write_event(WARNING, fmt, ap, skipped);
	va_end(ap);
	skipped = 0;
}

void
log_open_row(const char *client, const char *target, unsigned long long up,
    unsigned long long down, msec started_at)
{
	log_error("table:   %s > %s up=%llu down=%llu ms=%lld", client, target,
	    up, down, (long long)(now_ms() - started_at));
}
