/* Reads numbers from text. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* A 0 in front might be meant as octal: it is refused. */
bool
parse_uint(const char *text, uint32_t least, uint32_t most, uint32_t *value)
{
	unsigned long long n;

	if (!*text || text[strspn(text, "0123456789")] ||
	    (*text == '0' && text[1]))
		return false;
	n = strtoull(text, NULL, 10);
	if (n < least || n > most)
		return false;
	*value = (uint32_t)n;
	return true;
}
