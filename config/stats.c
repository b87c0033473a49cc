/* Parses the value of --stats. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "config/stats.h"

#define VALUE_MAX 256

static bool
is_one_tcp_port(const struct map *map)
{
	return map->proto == PROTO_TCP &&
	    (map->listen.kind == EP_LOOPBACK || map->listen.kind == EP_ANY ||
		map->listen.kind == EP_IPV4 || map->listen.kind == EP_IPV6) &&
	    map->listen.port_first == map->listen.port_last;
}

const char *
stats_parse(struct map *map, const char *value)
{
	static const char usage[] =
	    "write [NS@]ADDR:PORT or :PORT, or the path "
	    "of a UNIX socket, with '/' in it, as "
	    "./stats";
	char spec[VALUE_MAX + 16];
	const char *bad_part;
	int length;

	if (strlen(value) > VALUE_MAX || strpbrk(value, "=,"))
		return usage;
	snprintf(spec, sizeof(spec), "%s=self@@stats", value);
	if (map_parse(map, spec, &config_builtin, &bad_part, &length))
		return usage;
	snprintf(spec, sizeof(spec), "--stats %s", value);
	wipe_and_free(map->spec);
	map->spec = strdup(spec);
	map->origin = strdup("");
	if (map->spec && map->origin && is_one_tcp_port(map))
		return NULL;
	map_free(map);
	return usage;
}

/*
 * Returns true if the value, which is no address, may be a path. ":PORT" at its
 * end is no part of one, and is an address with something wrong in front.
 */
static bool
resembles_path(const char *value)
{
	const char *colon = strrchr(value, ':');

	if (colon && colon[1] && !colon[1 + strspn(colon + 1, "0123456789")])
		return false;
	return strchr(value, '/') &&
	    (*value == '/' || *value == '.' || !strpbrk(value, ":@"));
}

const char *
stats_check(const char *value)
{
	struct map map;
	const char *why = stats_parse(&map, value);

	if (!why)
		map_free(&map);
	return why && resembles_path(value) ? NULL : why;
}
