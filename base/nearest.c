/* Finds names that resemble a name. */

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"

#define LENGTH_MAX 63

static size_t
min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool
same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/*
 * Returns how many bytes to insert, delete or replace make one name another.
 * Capital letters count as small ones.
 */
static size_t
edit_distance(const char *a, const char *b)
{
	size_t row[LENGTH_MAX + 1], n = strlen(b), corner, above;

	for (size_t k = 0; k <= n; k++)
		row[k] = k;
	for (size_t i = 0; a[i]; i++) {
		corner = row[0]++;
		for (size_t k = 0; k < n; k++) {
			above = row[k + 1];
			row[k + 1] = min_size(min_size(above, row[k]) + 1,
			    corner + !same_letter(a[i], b[k]));
			corner = above;
		}
	}
	return row[n];
}

/* Returns true if the names differ only by two neighbouring bytes, swapped. */
static bool
is_transposed(const char *a, const char *b)
{
	for (; *a && *a == *b; a++)
		b++;
	return *a && *b && a[0] == b[1] && a[1] == b[0] &&
	    strcmp(a + 2, b + 2) == 0;
}

void
nearest_add(struct nearest *n, const char *candidate)
{
	size_t length = strlen(n->name), distance, i;

	if (length > LENGTH_MAX || strlen(candidate) > LENGTH_MAX)
		return;
	distance = edit_distance(n->name, candidate);
	if (distance &&
	    (strncmp(n->name, candidate, length) == 0 ||
		is_transposed(n->name, candidate)))
		distance = 1;
	if (distance > 1 && distance > length / 3)
		return;
	for (i = 0; i < n->count; i++)
		if (strcmp(n->found[i], candidate) == 0)
			return;
	for (i = 0; i < n->count &&
	     (n->distance[i] < distance ||
		 (n->distance[i] == distance &&
		     strcmp(n->found[i], candidate) < 0));
	     i++)
		;
	if (i == NEAREST_MAX)
		return;
	if (n->count < NEAREST_MAX)
		n->count++;
	memmove(n->found + i + 1, n->found + i,
	    (n->count - 1 - i) * sizeof(*n->found));
	memmove(n->distance + i + 1, n->distance + i,
	    (n->count - 1 - i) * sizeof(*n->distance));
	snprintf(n->found[i], sizeof(n->found[i]), "%s", candidate);
	n->distance[i] = distance;
}

void
nearest_add_files(struct nearest *n, const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (*entry->d_name != '.')
			nearest_add(n, entry->d_name);
	if (d)
		closedir(d);
}

const char *
nearest_format(const struct nearest *n, char *buf, const char *prefix)
{
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n->count; i++)
		used += (size_t)snprintf(buf + used, NEAREST_SIZE - used,
		    "%s%s%s", i ? ", " : "nearest: ", prefix, n->found[i]);
	if (used)
		snprintf(buf + used, NEAREST_SIZE - used, "; ");
	return buf;
}
