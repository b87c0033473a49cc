/* Encodes and compares users and passwords. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "proxy/auth.h"
#include "proxy/socks.h"

void
basic_auth_encode(char *out, const char *user, const char *password)
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

bool
equal_constant_time(const char *given, size_t length, const char *expected)
{
	size_t size = strlen(expected);
	unsigned differ = length != size;

	for (size_t i = 0; i < length; i++)
		differ |= (unsigned char)given[i] ^
		    (unsigned char)expected[i < size ? i : size];
	return !differ;
}
