/* Finds names that resemble a name. */

#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include <stddef.h>

#define NEAREST_MAX 3

/* The names found so far, nearest first. */
struct nearest {
	const char *name; /* that the others are compared with */
	char found[NEAREST_MAX][64];
	size_t distance[NEAREST_MAX], count;
};

/*
 * Adds a candidate that begins with the name, or differs from it by one byte,
 * two swapped bytes, or a third of its bytes. Keeps the NEAREST_MAX nearest.
 */
void nearest_add(struct nearest *, const char *candidate);

/* Calls nearest_add() with the name of each file in a directory. */
void nearest_add_files(struct nearest *, const char *dir);

/*
 * Writes "nearest: A, B; " into buf, each name behind prefix, "--" or ""; or
 * "" if no name was found. Returns buf, which has NEAREST_SIZE bytes.
 */
#define NEAREST_SIZE (NEAREST_MAX * 68 + 16)
const char *nearest_format(const struct nearest *, char *buf,
    const char *prefix);

#endif
