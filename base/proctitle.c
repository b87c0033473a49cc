/* Sets the process title that ps(1) shows. */

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/proctitle.h"

/* The memory of the arguments and of the environment, which follows them. */
static struct title {
	char *text;
	size_t size;
	bool cleared; /* the bytes behind the title are 0 */
} title;

/*
 * Returns a copy of the environment, or NULL if out of memory. It is one piece
 * of memory, so that unsetenv(3) loses none.
 */
static char **
copy_environ(void)
{
	size_t n = 0, size = 0;
	char **copy, *text;

	for (; environ[n]; n++)
		size += strlen(environ[n]) + 1;
	copy = malloc((n + 1) * sizeof(*copy) + size);
	if (!copy)
		return NULL;
	text = (char *)(copy + n + 1);
	for (size_t i = 0; i < n; i++) {
		copy[i] = text;
		text = stpcpy(text, environ[i]) + 1;
	}
	copy[n] = NULL;
	return copy;
}

void
proctitle_init(int argc, char **argv)
{
	char *end = argv[0] + strlen(argv[0]) + 1, **copy = copy_environ();

	for (int i = 1; i < argc; i++)
		end += strlen(argv[i]) + 1;
	for (char **s = environ; copy && *s == end; s++)
		end += strlen(*s) + 1;
	if (copy)
		environ = copy;
	title.text = argv[0];
	title.size = (size_t)(end - argv[0]);
}

/* Copies text to at, as far as it fits. Returns where the copy ends. */
static char *
title_append(char *at, const char *text)
{
	while (*text && at < title.text + title.size - 1)
		*at++ = *text++;
	return at;
}

/*
 * The kernel reads beyond the arguments if their last byte is not 0. Only the
 * bytes of an earlier title are cleared, and its length is not stored, because
 * each page that a process writes to is copied.
 */
void
proctitle_set(const char *left, const char *separator, const char *right)
{
	/* Not a constant, because constants are on a page not yet mapped. */
	const char name[] = {'n', 's', 'f', 'w', 'd', ':', ' ', '\0'};
	char *at = title.text;

	if (!at)
		return;
	at = title_append(at, name);
	at = title_append(at, left);
	at = title_append(at, separator);
	at = title_append(at, right);
	if (!title.cleared) {
		memset(at, 0, (size_t)(title.text + title.size - at));
		title.cleared = true;
	}
	while (*at)
		*at++ = '\0';
}
