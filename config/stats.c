/* Parses the value of --stats. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "config/stats.h"

#define VALUE_MAX 256

/* ADDR/PORT has a '/', too, but ends with digits behind an IPv6 address. */
static bool
is_ipv6_port(const char *value)
{
	const char *slash = strrchr(value, '/');

	return slash > value && strchr("0123456789abcdefABCDEF:]", slash[-1]) &&
	    strchr(value, ':') && slash[1] &&
	    !slash[1 + strspn(slash + 1, "0123456789")];
}

bool
stats_is_path(const char *value)
{
	return *value == '/' || *value == '.' ||
	    (strchr(value, '/') && !strstr(value, "://") &&
		!is_ipv6_port(value));
}

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
	static const char usage[] = "[NS@]ADDR:PORT or :PORT, or the path of a "
				    "UNIX socket, with '/' in it, as ./stats";
	char spec[VALUE_MAX + 16];
	const char *bad_part;
	int length;

	if (strlen(value) > VALUE_MAX || strpbrk(value, "=,"))
		return usage;
	snprintf(spec, sizeof(spec), "%s=self@@stats", value);
	if (map_parse(map, spec, &config_builtin, &bad_part, &length))
		return usage;
	snprintf(spec, sizeof(spec), "--stats %s", value);
	free(map->spec);
	map->spec = strdup(spec);
	map->origin = strdup("");
	if (map->spec && map->origin && is_one_tcp_port(map))
		return NULL;
	map_free(map);
	return usage;
}

const char *
stats_check(const char *value)
{
	struct map map;
	const char *why;

	if (stats_is_path(value))
		return NULL;
	why = stats_parse(&map, value);
	if (!why)
		map_free(&map);
	return why;
}
