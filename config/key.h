/* The keys of a map. */

#ifndef CONFIG_KEY_H
#define CONFIG_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct endpoint;
struct map;

/*
 * Reads the value of a key, which it may take to pieces, into the map. *seen
 * is 0 before the first one. Errors as of side_parse().
 */
const char *key_parse(struct map *, uint32_t *seen, const char *name,
    char *value, const char **part);

/*
 * Why keys do not go together with the first place that is connected to on the
 * way to a target; NULL if they do.
 */
const char *key_check(const struct map *, const struct endpoint *first_ep);

/* Writes the keys that differ from those of base, each after a ','. */
void key_print(FILE *, const struct map *, const struct map *builtin);

/* True if a map has a key of that name, of so many bytes. */
bool key_exists(const char *name, size_t length);

#endif
