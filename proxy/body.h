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

/* The part of a line of a chunked body, or of its data, that is read. */
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
	bool done;       /* has ended */
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
 * Finds the end of the body by the header lines of a message; without
 * Content-Length and Transfer-Encoding *body stays as it is. body->strict is
 * that of a request: returns -1 with EINVAL if the headers contradict each
 * other, so that two receivers could find different ends, and with EOPNOTSUPP
 * for a Transfer-Encoding other than "chunked". In a response any other one
 * ends with the stream, and Content-Length beside it does not count.
 */
int body_parse_headers(struct http_body *, const char *headers);

#endif
