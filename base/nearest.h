/* Finds names that resemble a name. */

#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include <stddef.h>

#define NEAREST_MAX 3

/* The names found so far, nearest first. */
struct nearest {
	const char *name; /* that is looked for */
	char found[NEAREST_MAX][64];
	size_t distance[NEAREST_MAX], count;
};

/* Adds a candidate, unless it resembles the name too little. */
void nearest_add(struct nearest *, const char *candidate);

/* Adds the names of the files in a directory. */
void nearest_add_files(struct nearest *, const char *dir);

/*
 * Writes "nearest: A, B; " into buf, or "" if none was found. Returns buf, whose
 * size is NEAREST_SIZE.
 */
#define NEAREST_SIZE (NEAREST_MAX * 66 + 16)
const char *nearest_format(const struct nearest *, char *buf);

#endif
