/* The value of --stats: the path of a UNIX socket, or an address and a port. */

#ifndef CONFIG_STATS_H
#define CONFIG_STATS_H

#include <stdbool.h>

struct map;

/*
 * Makes a map that listens on the address and has no real target. Returns NULL,
 * and map_free() releases the map; or why the value is no address, a string
 * constant.
 */
const char *stats_parse(struct map *, const char *value);

/* Returns NULL if the value is an address or a path, or why it is neither. */
const char *stats_check(const char *value);

#endif
