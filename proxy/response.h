/* Heads of HTTP/1 responses to a plain request. */

#ifndef PROXY_RESPONSE_H
#define PROXY_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/body.h"

struct http_response {
	int status;              /* 100 to 999 */
	const char *status_line; /* ends in a NUL */
	const char *headers;     /* lines, as in struct http_request */
	struct http_body body;
};

/*
 * Returns the length of a response head, as an io_parser. errno is EIO unless
 * the head begins with "HTTP/1.x NNN" or "ICY NNN".
 */
ssize_t http_response_length(const unsigned char *data, size_t length,
    void *arg);

/*
 * Parses a whole response head in place. `has_body` is false for the response
 * to HEAD. Returns -1 with EIO for headers that contradict each other.
 */
int http_parse_response(struct http_response *, char *head, size_t length,
    bool has_body);

/*
 * Writes the head in the form for the client, with `connection` as the value of
 * Connection. If that is NULL, as for an interim response, leaves Connection
 * out. Leaves out lines that are no headers. Returns the length, or 0 for too
 * little room.
 */
size_t http_rewrite_response(const struct http_response *, char *out,
    size_t size, const char *connection);

#endif
