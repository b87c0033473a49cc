/* Compares strings and reads numbers from them. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

bool
parse_uint(const char *text, uint32_t min, uint32_t max, uint32_t *value)
{
	unsigned long long n;

	if (!*text || text[strspn(text, "0123456789")] ||
	    (*text == '0' && text[1]))
		return false;
	n = strtoull(text, NULL, 10);
	if (n < min || n > max)
		return false;
	*value = (uint32_t)n;
	return true;
}

bool
text_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}
