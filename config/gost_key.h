/* The keys in a word of GOST, KEY=VALUE behind '?'. */

#ifndef CONFIG_GOST_KEY_H
#define CONFIG_GOST_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "config/gost_url.h"

struct nearest;

/*
 * Translates a key of -L, or of -F if is_hop is true. Writes keys of a map,
 * each after a ','. Writes nothing for a key that gost.c reads, such as netns.
 * Returns NULL; or why the key is refused, as the functions of gost_url.h.
 */
const char *gost_key_put(FILE *, struct gost_url *, const struct gost_param *,
    bool is_hop);

/* The result of gost_key_put() for a key that nsfwd does not know. */
extern const char gost_key_unknown[];

/* Calls nearest_add() with each key, after cutting "handler." off n->name. */
void gost_key_add_nearest(struct nearest *n);

/* Returns true if GOST has a key of that name, of length bytes. */
bool gost_key_exists(const char *name, size_t length);

/* Returns true if the value of a switch means "on", as "true" does. */
bool gost_key_is_on(const char *value);

#endif
