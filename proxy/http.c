/* Finds the end of an HTTP head, and encodes credentials. */

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "base/io.h"
#include "proxy/http.h"

ssize_t
http_head_length(const unsigned char *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char c = data[i], before = i ? data[i - 1] : 0;

		if ((c == '\n') != (before == '\r') ||
		    ((c < ' ' || c == 127) && !strchr("\r\n\t", c)) || !c)
			return fail_errno(EPROTO);
		if (c == '\n' && i >= 3 && data[i - 2] == '\n')
			return (ssize_t)i + 1;
	}
	return 0;
}

void
http_basic_auth(char *out, const char *user, const char *password)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[2 * SOCKS_STRING_MAX + 2];
	size_t length;

	snprintf(text, sizeof(text), "%.*s:%.*s", SOCKS_STRING_MAX, user,
	    SOCKS_STRING_MAX, password ? password : "");
	length = strlen(text);
	for (size_t i = 0; i < length; i += 3) {
		uint32_t bits = 0;

		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 |
			    (i + k < length ? (unsigned char)text[i + k] : 0);
		for (int shift = 18; shift >= 0; shift -= 6)
			*out++ = digits[bits >> shift & 63];
		if (i + 2 >= length)
			out[-1] = '=';
		if (i + 1 >= length)
			out[-2] = '=';
	}
	*out = '\0';
}
