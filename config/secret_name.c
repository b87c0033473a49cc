/* Says by a name whether its value may be a password. */

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "config/secret_name.h"

#include "base/array.h"

/*
 * Returns true if a is b with one byte more, less or changed, or two swapped.
 */
static bool
resembles(const char *a, size_t length, const char *b)
{
	size_t length_b = strlen(b), i = 0;

	while (
	    i < length && i < length_b && tolower((unsigned char)a[i]) == b[i])
		i++;
	while (length > i && length_b > i &&
	    tolower((unsigned char)a[length - 1]) == b[length_b - 1])
		length--, length_b--;
	length -= i;
	length_b -= i;
	return (length <= 1 && length_b <= 1) ||
	    (length == 2 && length_b == 2 &&
		tolower((unsigned char)a[i]) == b[i + 1] &&
		tolower((unsigned char)a[i + 1]) == b[i]);
}

/* Returns true if the name contains part, in any case of letters. */
static bool
name_contains(const char *name, size_t length, const char *part)
{
	size_t n = strlen(part);

	for (size_t i = 0; i + n <= length; i++)
		if (strncasecmp(name + i, part, n) == 0)
			return true;
	return false;
}

/* Returns true if a run of letters in the name resembles word. */
static bool
has_similar_word(const char *name, size_t length, const char *word)
{
	size_t n;

	for (size_t i = 0; i < length; i += n + 1) {
		for (n = 0;
		     i + n < length && isalpha((unsigned char)name[i + n]);)
			n++;
		if (n > 2 && resembles(name + i, n, word))
			return true;
	}
	return false;
}

enum secret_value
secret_value(const char *name, size_t length)
{
	static const struct {
		const char *word;
		enum secret_value value;
	} words[] = {{"password", VALUE_SECRET}, {"passwd", VALUE_SECRET},
	    {"pass", VALUE_SECRET}, {"pwd", VALUE_SECRET},
	    {"secret", VALUE_SECRET}, {"token", VALUE_SECRET},
	    {"key", VALUE_SECRET}, {"auth", VALUE_AUTH}, {"cred", VALUE_AUTH},
	    {"user", VALUE_LOGIN}, {"login", VALUE_LOGIN}};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (name_contains(name, length, words[i].word))
			return words[i].value;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strlen(words[i].word) > 3 &&
		    words[i].value != VALUE_LOGIN &&
		    has_similar_word(name, length, words[i].word))
			return words[i].value;
	return VALUE_OTHER;
}
