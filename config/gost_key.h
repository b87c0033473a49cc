/* The keys in a word of GOST, KEY=VALUE behind '?'. */

#ifndef CONFIG_GOST_KEY_H
#define CONFIG_GOST_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "config/gost_url.h"

/*
 * Writes the keys of a map, each after a ',', that the key of a service, or of
 * a hop if is_hop is true, stands for. Keys that others read, such as netns,
 * write nothing.
 */
const char *gost_key_put(FILE *, struct gost_url *, const struct gost_param *,
    bool is_hop);

/* Returns true if GOST has a key of that name, of length bytes. */
bool gost_key_exists(const char *name, size_t length);

/* Returns true if the value of a key that is a switch means "on". */
bool gost_key_is_on(const char *value);

#endif
