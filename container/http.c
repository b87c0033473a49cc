/* A small HTTP client (RFC 9112) over a UNIX socket. */

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/io.h"
#include "container/http.h"

#define HEADER_MAX  8192
#define REQUEST_MAX 1024

/* Returns the value of a field of the header, or NULL. */
static const char *
find_field(const char *header, const char *end, const char *name)
{
	size_t length = strlen(name);

	while ((header = memchr(header, '\n', (size_t)(end - header)))) {
		if (++header == end)
			return NULL;
		if ((size_t)(end - header) <= length ||
		    strncasecmp(header, name, length) != 0 ||
		    header[length] != ':')
			continue;
		header += length + 1;
		return header + strspn(header, " \t");
	}
	return NULL;
}

/* Reads the size of a chunk at *p, and skips the line. Returns -1 if wrong. */
static long
chunk_size(const char **p, const char *end)
{
	const char *line_end = memchr(*p, '\n', (size_t)(end - *p));
	char *digits_end;
	long size;

	if (!line_end || strchr("+- \t\r\n", **p))
		return -1;
	size = strtol(*p, &digits_end, 16);
	if (digits_end == *p || !strchr("\r\n; \t", *digits_end))
		return -1;
	*p = line_end + 1;
	return size < 0 || size > INT_MAX ? -1 : size;
}

/*
 * Walks over the chunks from `from`; moves them together to `to` unless that is
 * NULL. Returns true if the last one is there; then *length is the sum.
 */
static bool
walk_chunks(const char *from, const char *end, char *to, size_t *length)
{
	long size;

	*length = 0;
	while (from < end && (size = chunk_size(&from, end)) != -1) {
		if (size == 0)
			return true;
		if (end - from < size)
			return false;
		if (to)
			memmove(to + *length, from, (size_t)size);
		*length += (size_t)size;
		from += size;
		from += from < end && *from == '\r';
		from += from < end && *from == '\n';
	}
	return false;
}

static int
parse_body(struct http_answer *a, const char *header, char *end, bool eof)
{
	const char *chunked = find_field(header, a->body, "transfer-encoding");
	const char *length = find_field(header, a->body, "content-length");
	unsigned long long wanted;

	if (chunked && strncasecmp(chunked, "chunked", 7) == 0) {
		if (!walk_chunks(a->body, end, NULL, &a->length))
			return eof ? fail_errno(EPROTO) : 0;
		walk_chunks(a->body, end, a->body, &a->length);
		return 1;
	}
	a->length = (size_t)(end - a->body);
	if (!length)
		return eof;
	wanted = strtoull(length, NULL, 10);
	if (a->length < wanted)
		return eof ? fail_errno(EPROTO) : 0;
	a->length = (size_t)wanted;
	return 1;
}

/* Ends the header by a NUL, so that the functions of string.h can read it. */
int
http_parse(struct http_answer *a, char *buf, size_t used, bool eof)
{
	char *end = memmem(buf, used, "\r\n\r\n", 4);

	if (!end)
		return eof || used > HEADER_MAX ? fail_errno(EPROTO) : 0;
	if (end - buf < 12 || strncmp(buf, "HTTP/1.", 7) != 0 ||
	    end - buf > HEADER_MAX)
		return fail_errno(EPROTO);
	a->status = (int)strtol(buf + 8, NULL, 10);
	a->body = end + 4;
	buf[used] = '\0';
	return parse_body(a, buf, buf + used, eof);
}

/* Connects and sends the request. Returns a descriptor, or -1 with errno. */
static int
http_request(const char *path, const char *target, msec deadline)
{
	char request[REQUEST_MAX];
	int n = snprintf(request, sizeof(request),
	    "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: nsfwd\r\n"
	    "Connection: close\r\n\r\n",
	    target);
	int fd;

	if (n >= (int)sizeof(request))
		return fail_errno(ENAMETOOLONG);
	fd = io_connect_unix(path, deadline);
	if (fd == -1)
		return -1;
	/* A request of this size fits into the buffer of a new socket. */
	if (send(fd, request, (size_t)n, MSG_NOSIGNAL) == n)
		return fd;
	return close_keep_errno(fd);
}

/* Returns as recv(2), but waits for the first byte. */
static ssize_t
http_receive(int fd, char *buf, size_t size, msec deadline)
{
	const struct io io = {fd, -1, deadline};

	if (now_ms() >= deadline)
		return fail_errno(ETIMEDOUT);
	return io_wait_for(&io, POLLIN) == -1 ? -1 : recv(fd, buf, size, 0);
}

int
http_get(struct http_answer *a, const char *path, const char *target, char *buf,
    size_t size, msec deadline)
{
	int fd = http_request(path, target, deadline), result = 0;
	size_t used = 0;
	ssize_t n;

	if (fd == -1)
		return -1;
	while (result == 0) {
		n = used == size - 1
		    ? fail_errno(EMSGSIZE)
		    : http_receive(fd, buf + used, size - 1 - used, deadline);
		if (n == -1) {
			result = -1;
			break;
		}
		used += (size_t)n;
		result = http_parse(a, buf, used, n == 0);
	}
	close_keep_errno(fd);
	return result == 1 ? 0 : -1;
}

int
http_stream(const char *path, const char *target, msec deadline)
{
	char buf[HEADER_MAX + 1];
	int fd = http_request(path, target, deadline);
	size_t used = 0;
	ssize_t n;

	while (fd != -1 && !memmem(buf, used, "\r\n\r\n", 4)) {
		n = used == HEADER_MAX
		    ? 0
		    : http_receive(fd, buf + used, HEADER_MAX - used, deadline);
		if (n > 0) {
			used += (size_t)n;
			continue;
		}
		errno = n == 0 ? EPROTO : errno;
		return close_keep_errno(fd);
	}
	if (fd == -1 ||
	    (strncmp(buf, "HTTP/1.", 7) == 0 &&
		strncmp(buf + 8, " 200", 4) == 0))
		return fd;
	errno = EPROTO;
	return close_keep_errno(fd);
}
