/* What ps(1) shows of a process. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nsfwd.h"

/* The arguments and, behind them, the environment, as the kernel laid them. */
static struct title {
	char *at;
	size_t size, used;
	char **kept; /* of the environment, whole or not */
} title;

/* The environment is read on: a copy of it is. */
static char **
copy(char **list)
{
	size_t n = 0;
	char **to;

	while (list[n])
		n++;
	title.kept = to = calloc(n + 1, sizeof(*to));
	for (size_t i = 0; to && i < n; i++)
		if (!(to[i] = strdup(list[i])))
			return NULL;
	return to;
}

void
title_open(int argc, char **argv)
{
	char *end = argv[argc - 1] + strlen(argv[argc - 1]) + 1;
	char **moved = copy(environ);

	for (char **s = environ; moved && *s == end; s++)
		end += strlen(*s) + 1;
	if (moved)
		environ = moved;
	title.at = argv[0];
	title.size = title.used = (size_t)(end - argv[0]);
}

static char *
add(char *at, const char *text)
{
	while (*text && at < title.at + title.size - 1)
		*at++ = *text++;
	return at;
}

/*
 * Where the last byte of the arguments is not 0, the kernel reads on. No more
 * is written than must be: a page that is touched is copied.
 */
void
title_set(const char *what, const char *of, const char *more)
{
	char *at = title.at;

	if (!at)
		return;
	at = add(add(add(add(at, "nsfwd: "), what), of), more);
	if (at < title.at + title.used)
		memset(at, 0, (size_t)(title.at + title.used - at));
	title.used = (size_t)(at - title.at);
}
