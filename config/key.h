/* The keys of a map, KEY=VALUE: parses, checks and prints them. */

#ifndef CONFIG_KEY_H
#define CONFIG_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct endpoint;
struct map;
struct nearest;

extern const char key_unknown[];

/*
 * Sets a key of the map from value, which is modified. *seen, 0 before the
 * first key of a map, records which keys were set. Returns NULL; or why the key
 * or value is wrong, a string constant: key_unknown if there is no such key.
 * Sets *bad_part if the value, or a part of it, is wrong.
 */
const char *key_parse(struct map *, uint32_t *seen, const char *name,
    char *value, const char **bad_part);

/*
 * Returns why a key of the map excludes another one, or excludes first_ep, the
 * first hop or a target; NULL if none does.
 */
const char *key_check(const struct map *, const struct endpoint *first_ep);

/* Writes the keys that differ from those of builtin, each after a ','. */
void key_print(FILE *, const struct map *, const struct map *builtin);

/* Calls nearest_add() with each key. */
void key_add_nearest(struct nearest *);

/* Returns true if maps have a key with that name, which has `length` bytes. */
bool key_exists(const char *name, size_t length);

#endif
