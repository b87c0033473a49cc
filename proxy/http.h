/* Heads of HTTP/1 messages. */

#ifndef PROXY_HTTP_H
#define PROXY_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define HTTP_HEAD_MAX 8192 /* bytes of a head, its empty line included */

/*
 * Returns the length of the head at the start of the data, 0 if its end is not
 * there yet, or -1 with EPROTO. Every line ends in CRLF; the last one is empty.
 * Control characters other than tabs are not allowed.
 */
ssize_t http_head_length(const unsigned char *data, size_t length);

/* A request head, parsed in place. */
struct http_request {
	const char *method, *url, *version;
	const char *headers; /* each line ends in "\0\n"; the last is empty */
};

/*
 * Parses a whole request head of HTTP/1.0 or HTTP/1.1 in place. A NUL follows
 * the head, and the fields of the request point into it. Returns -1 with
 * EINVAL.
 */
int http_parse_request(struct http_request *, char *head);

/*
 * Returns true if Proxy-Authorization carries the user and the password. Only
 * the first header of the Basic scheme counts.
 */
bool http_is_authorized(const struct http_request *, const char *user,
    const char *password);

/*
 * Writes the head of a plain HTTP request to a proxy ("GET http://HOST/PATH")
 * in the form for the target ("GET /PATH"), with a NUL behind it, and the
 * HOST:PORT to dial into `target`, HOSTPORT_MAX bytes. Hop-by-hop headers are
 * left out, RFC 9110 section 7.6.1; Host is the dialled host, RFC 9112 section
 * 3.2.2. Returns -1 with EINVAL for another URL, EMSGSIZE for too little room.
 */
int http_rewrite_request(const struct http_request *, char *out, size_t size,
    char *target);

#endif
