/* The value of --stats: the path of a UNIX socket, or an address and a port. */

#ifndef CONFIG_STATS_H
#define CONFIG_STATS_H

#include <stdbool.h>

struct map;

/* Returns true if the value is a path; then stats_parse() is not called. */
bool stats_is_path(const char *value);

/*
 * Makes a map that listens on the address and has no real target. Returns NULL,
 * and map_free() releases the map; or why the value is wrong, a string
 * constant.
 */
const char *stats_parse(struct map *, const char *value);

/* Returns NULL if the value is right, or why it is wrong. */
const char *stats_check(const char *value);

#endif
