/* HTTP heads and credentials. */

#ifndef PROXY_HTTP_H
#define PROXY_HTTP_H

#include <stddef.h>
#include <sys/types.h>

#define HTTP_HEAD_MAX    8192 /* bytes of an HTTP head, with its end */
#define SOCKS_STRING_MAX 255  /* of what has its length in one byte */
#define BASIC_AUTH_MAX   688  /* of a user and a password, each such a word */

/* As a parser: an HTTP head, whose lines end in CRLF, and the last is empty. */
ssize_t http_head_length(const unsigned char *data, size_t length);

/* Writes the credentials of HTTP's Basic scheme, BASIC_AUTH_MAX bytes at most. */
void http_basic_auth(char *out, const char *user, const char *password);

#endif
