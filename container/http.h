/* A small HTTP client (RFC 9112) over a UNIX socket. */

#ifndef CONTAINER_HTTP_H
#define CONTAINER_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

struct http_answer {
	int status;
	char *body; /* points into the caller's buffer */
	size_t length;
};

/*
 * Reads an answer of `used` bytes: a header and a body, which it moves together
 * if it is chunked. With `eof`, no byte follows. Returns 1 and fills *answer; 0
 * if more bytes are needed; or -1 with errno, EPROTO if the answer is wrong or
 * cut.
 */
int http_parse(struct http_answer *, char *buf, size_t used, bool eof);

/*
 * Asks the socket at `path` for `target`, a path of RFC 9112 that needs no
 * escape. Reads the answer into buf. Returns 0; or -1 with errno of connect(2),
 * with ETIMEDOUT after the deadline, EMSGSIZE if the answer is larger than the
 * buffer, or EPROTO.
 */
int http_get(struct http_answer *, const char *path, const char *target,
    char *buf, size_t size, msec deadline);

/*
 * Asks in the same way for an answer without an end. Returns a descriptor, with
 * the header of status 200 read, and O_NONBLOCK; or -1 with errno.
 */
int http_stream(const char *path, const char *target, msec deadline);

#endif
