/* Heads of HTTP/1 messages. */

#ifndef PROXY_HTTP_H
#define PROXY_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/body.h"

#define HTTP_LINES_MAX 500   /* headers, because each is looked up in all */
#define HTTP_HEAD_MAX  65536 /* bytes of a head, its empty line included */

/*
 * Returns the length of the head at the start of the data, 0 if its end is not
 * there yet, or -1 with EPROTO. Empty lines in front belong to the head. A line
 * ends in CRLF or LF; the last one is empty. Other control characters than tabs
 * are not allowed.
 */
ssize_t http_head_length(const unsigned char *data, size_t length);

/* Returns true for the characters of a token, RFC 9110 section 5.6.2. */
bool http_is_token_char(int c);

/*
 * Splits a whole head in place, with a NUL at the end of each line. Empty lines
 * in front are left out. If `unfold` is set, a line that begins with white
 * space continues the line before it.
 */
void http_split_lines(char *head, size_t length, bool unfold);

/* Returns the line behind a line. */
const char *http_next_line(const char *line);

/* Returns the value of a header line if the header has that name, else NULL. */
const char *http_header_value(const char *line, const char *name);

/*
 * Returns true if one of the headers with that name, a list with commas, has
 * the item, `length` bytes, in any case.
 */
bool http_list_has(const char *headers, const char *name, const char *item,
    size_t length);

/*
 * Returns true if a header of a message is not for the next receiver, RFC 9110
 * section 7.6.1.
 */
bool http_is_hop_by_hop(const char *headers, const char *header);

/* A request head, parsed in place. */
struct http_request {
	const char *method, *url, *version;
	const char *headers; /* lines that end in a NUL; the last is empty */
	struct http_body body;
	bool is_head, is_http10;
	bool keep_alive;     /* the client may send another request */
	const char *upgrade; /* to which protocol; NULL: none */
};

/*
 * Parses a whole request head of HTTP/1.0 or HTTP/1.1 in place. The fields of
 * the request point into it. Returns -1 with EINVAL; EOPNOTSUPP for an unknown
 * Transfer-Encoding.
 */
int http_parse_request(struct http_request *, char *head, size_t length);

/*
 * Returns true if Proxy-Authorization carries the user and the password. Only
 * the first header of the Basic scheme counts.
 */
bool http_is_authorized(const struct http_request *, const char *user,
    const char *password);

/*
 * Writes the head of a plain HTTP request to a proxy ("GET http://HOST/PATH")
 * in the form for the target ("GET /PATH"), with a NUL behind it, and the
 * HOST:PORT to dial into `target`, HOSTPORT_MAX bytes. User and password of the
 * URL and hop-by-hop headers are left out, RFC 9110 section 7.6.1; Host is the
 * dialled host, RFC 9112 section 3.2.2. Returns -1 with EINVAL for another URL,
 * EMSGSIZE for too little room.
 */
int http_rewrite_request(const struct http_request *, char *out, size_t size,
    char *target);

#endif
