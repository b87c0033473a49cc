/* Finds the end of the body of an HTTP/1 message. */

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

#include "base/io.h"
#include "proxy/body.h"
#include "proxy/http.h"

#define SIZE_DIGITS_MAX   15 /* hexadecimal digits of the size of a chunk */
#define LENGTH_DIGITS_MAX 18

static int
hex_digit(unsigned char c)
{
	return isdigit(c) ? c - '0' : isxdigit(c) ? (c | 0x20) - 'a' + 10 : -1;
}

/* Takes a byte that does not end a line. Returns 0, or -1 with EPROTO. */
static int
take_line_byte(struct http_body *b, unsigned char c)
{
	int digit = hex_digit(c);

	if ((c < ' ' && c != '\t') || c == 127)
		return fail_errno(EPROTO);
	if (b->part == CHUNK_TRAILER)
		b->column = 1;
	if (b->part == CHUNK_TRAILER || b->part == CHUNK_EXTENSION)
		return 0;
	if (b->part == CHUNK_SIZE && digit != -1 &&
	    b->column < SIZE_DIGITS_MAX) {
		b->left = b->left * 16 + (unsigned)digit;
		b->column++;
		return 0;
	}
	if (b->part != CHUNK_SIZE || !b->column || !strchr("; \t", c))
		return fail_errno(EPROTO);
	b->part = CHUNK_EXTENSION;
	return 0;
}

static int
take_line_end(struct http_body *b)
{
	switch (b->part) {
	case CHUNK_SIZE:
	case CHUNK_EXTENSION:
		if (!b->column)
			return fail_errno(EPROTO);
		b->part = b->left ? CHUNK_DATA : CHUNK_TRAILER;
		break;
	case CHUNK_DATA_END:
		b->part = CHUNK_SIZE;
		break;
	case CHUNK_TRAILER:
		b->done = !b->column;
		break;
	case CHUNK_DATA:
		break;
	}
	b->column = 0;
	return 0;
}

static int
take_framing_byte(struct http_body *b, unsigned char c)
{
	bool after_cr = b->after_cr;

	if (c == '\n' ? b->strict && !after_cr : after_cr)
		return fail_errno(EPROTO);
	b->after_cr = c == '\r';
	return c == '\n' ? take_line_end(b)
	    : c == '\r'  ? 0
			 : take_line_byte(b, c);
}

/* Takes bytes of BODY_LENGTH or of the data of a chunk. Returns how many. */
static size_t
take_counted(struct http_body *b, size_t length)
{
	size_t n = length < b->left ? length : (size_t)b->left;

	b->left -= n;
	if (!b->left && b->kind == BODY_LENGTH)
		b->done = true;
	else if (!b->left)
		b->part = CHUNK_DATA_END;
	return n;
}

ssize_t
body_take(struct http_body *b, const unsigned char *data, size_t length)
{
	size_t i = 0;

	if (b->kind == BODY_TO_END)
		return (ssize_t)length;
	if (b->kind == BODY_LENGTH)
		return (ssize_t)take_counted(b, length);
	while (i < length && !b->done)
		if (b->part == CHUNK_DATA)
			i += take_counted(b, length - i);
		else if (take_framing_byte(b, data[i++]) == -1)
			return -1;
	return (ssize_t)i;
}

/* Returns -1 with EINVAL if the value is not a number of bytes. */
static int
parse_length(const char *text, uint64_t *length)
{
	size_t digits = strspn(text, "0123456789");

	*length = 0;
	if (!digits || digits > LENGTH_DIGITS_MAX ||
	    text[digits + strspn(text + digits, " \t")])
		return fail_errno(EINVAL);
	for (size_t i = 0; i < digits; i++)
		*length = *length * 10 + (unsigned)(text[i] - '0');
	return 0;
}

/* Sets b->kind by Transfer-Encoding. Returns 0, or -1 with EOPNOTSUPP. */
static int
set_coding(struct http_body *b, const char *value)
{
	static const char chunked[] = "chunked";
	size_t length = strlen(value), size = sizeof(chunked) - 1;
	bool last;

	while (length && strchr(" \t", value[length - 1]))
		length--;
	last = length >= size &&
	    strncasecmp(value + length - size, chunked, size) == 0;
	if (b->strict && (!last || length != size))
		return fail_errno(EOPNOTSUPP);
	b->kind = last ? BODY_CHUNKED : BODY_TO_END;
	b->done = false;
	return 0;
}

static void
set_length(struct http_body *b, uint64_t length)
{
	b->kind = BODY_LENGTH;
	b->left = length;
	b->done = length == 0;
}

int
body_parse_headers(struct http_body *b, const char *headers)
{
	const char *coding = NULL, *value;
	uint64_t length = 0, other;
	bool has_length = false;

	for (const char *l = headers; *l; l = http_next_line(l)) {
		if ((value = http_header_value(l, "Content-Length"))) {
			if (parse_length(value, &other) == -1 ||
			    (has_length && other != length))
				return fail_errno(EINVAL);
			length = other;
			has_length = true;
		}
		if ((value = http_header_value(l, "Transfer-Encoding"))) {
			if (coding)
				return fail_errno(EINVAL);
			coding = value;
		}
	}
	if (coding && has_length && b->strict)
		return fail_errno(EINVAL);
	if (coding)
		return set_coding(b, coding);
	if (has_length)
		set_length(b, length);
	return 0;
}
