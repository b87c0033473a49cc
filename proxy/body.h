/* Where the body of an HTTP/1 message ends, RFC 9112 sections 6 and 7. */

#ifndef PROXY_BODY_H
#define PROXY_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum body_kind {
	BODY_LENGTH,
	BODY_CHUNKED,
	BODY_TO_END /* ends with the stream; of responses only */
};

/* The part of a chunked body that the next byte belongs to. */
enum chunk_part {
	CHUNK_SIZE,
	CHUNK_EXTENSION,
	CHUNK_DATA,
	CHUNK_DATA_END,
	CHUNK_TRAILER
};

/* A body, and how far it was read. */
struct http_body {
	enum body_kind kind;
	bool done;       /* the body has ended */
	bool strict;     /* a line of a chunked body must end in CRLF */
	bool after_cr;   /* the last byte was a CR that must precede an LF */
	uint64_t left;   /* bytes of BODY_LENGTH or of the chunk */
	unsigned column; /* digits of the size, or 1 inside a trailer */
	enum chunk_part part;
};

/*
 * Returns how many of the bytes belong to the body, and sets body->done at its
 * end; or -1 with EPROTO. A chunked body includes its trailers.
 */
ssize_t body_take(struct http_body *, const unsigned char *data, size_t length);

/*
 * Sets how the body ends, by the header lines of a message. Without
 * Content-Length and Transfer-Encoding, *body stays as it is. Returns -1 with
 * EINVAL for a malformed Content-Length, or for two different values of either
 * header, because two receivers could then find different ends.
 *
 * With body->strict, which is for requests, also returns -1 with EINVAL for
 * both headers together, and with EOPNOTSUPP for any Transfer-Encoding but
 * "chunked". A response may have both: Content-Length is then ignored. A body
 * whose last coding is not "chunked" ends with the stream.
 */
int body_parse_headers(struct http_body *, const char *headers);

#endif
