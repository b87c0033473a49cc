/* What ps(1) shows of a process. */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/proctitle.h"

/* The arguments and, behind them, the environment, as the kernel laid them. */
static struct title {
	char *at;
	size_t size, used;
} title;

/* The environment is read on: a copy of it is, as far as there is memory. */
static char **
copy_environ(void)
{
	size_t n = 0;
	char **to;

	while (environ[n])
		n++;
	to = calloc(n + 1, sizeof(*to));
	for (size_t i = 0; to && i < n; i++)
		to[i] = strdup(environ[i]);
	return to;
}

void
proctitle_init(int argc, char **argv)
{
	char *end = argv[0] + strlen(argv[0]) + 1, **moved = copy_environ();

	for (int i = 1; i < argc; i++)
		end += strlen(argv[i]) + 1;
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
proctitle_set(const char *what, const char *of, const char *more)
{
	char *at = title.at;

	if (!at)
		return;
	at = add(add(add(add(at, "nsfwd: "), what), of), more);
	if (at < title.at + title.used)
		memset(at, 0, (size_t)(title.at + title.used - at));
	title.used = (size_t)(at - title.at);
}
