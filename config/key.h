/* The keys of a map, KEY=VALUE: parses, checks and prints them. */

#ifndef CONFIG_KEY_H
#define CONFIG_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct endpoint;
struct map;

/*
 * Sets the key of that name from value, which is modified. *seen, 0 before the
 * first key of a map, records which keys were set. Returns NULL; or why it is
 * wrong, a string constant, with *bad_part set if that is the value or a part
 * of it.
 */
const char *key_parse(struct map *, uint32_t *seen, const char *name,
    char *value, const char **bad_part);

/*
 * Returns why the keys do not fit together with the endpoint that is connected
 * to first, a hop or a target; NULL if they do.
 */
const char *key_check(const struct map *, const struct endpoint *first_ep);

/* Writes the keys that differ from those of builtin, each after a ','. */
void key_print(FILE *, const struct map *, const struct map *builtin);

/* Returns true if maps have a key with that name, which has `length` bytes. */
bool key_exists(const char *name, size_t length);

#endif
