/* Checks a map against the system and against other maps. */

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "config/check.h"

#include "base/log.h"
#include "base/secret.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "config/stats.h"
#include "netns.h"

#define CHAIN_MAX 1000 /* longest chain of maps that is followed */

/* How far follow_chain() has come with a map. */
enum visit {
	VISIT_NONE,
	VISIT_OPEN, /* the map is part of the current chain */
	VISIT_DONE  /* no chain from the map leads back to the map */
};

bool
check_is_ns_name(const char *name)
{
	struct ns ns;
	bool found;

	if (map_set_ns(&ns, name))
		return false;
	found = ns.kind == NS_NAME && ns_id(&ns) != 0;
	ns_free(&ns);
	return found;
}

int
check_host_names(const struct map *map)
{
	size_t count = map->n_hops || map->target_ns.spec ? 0 : map->n_targets;

	for (size_t i = 0; i < count; i++) {
		const struct endpoint *target = &map->targets[i];

		if (target->kind != EP_HOST || !check_is_ns_name(target->name))
			continue;
		log_error("%s'%.160s': '%s': a namespace has this name: write "
			  "%s@%s (or self@%s for the host)",
		    map->origin, map->spec, target->arg, target->name,
		    strrchr(target->arg, ':') + 1, target->arg);
		return -1;
	}
	return 0;
}

int
check_own_redirect(const struct map *map)
{
	uint64_t id;

	if (!map_is_original(map) || map->mark)
		return 0;
	id = ns_id(&map->listen_ns);
	if (!id || id != ns_id(&map->target_ns))
		return 0;
	log_error("%s'%.160s': its target %s ('%s' and '%s' are one namespace)",
	    map->origin, map->spec, map_own_redirect, ns_spec(&map->listen_ns),
	    ns_spec(&map->target_ns));
	return -1;
}

int
check_last_listener(const struct config *conf)
{
	const struct map *last = &conf->maps[conf->n_maps - 1];

	for (const struct map *m = conf->maps; m < last; m++)
		if (map_conflicts(m, last)) {
			log_error("%s'%.160s': it listens where %s'%.160s' "
				  "does",
			    last->origin, last->spec, m->origin, m->spec);
			return -1;
		}
	return 0;
}

/* Visits each map that a chain of at most `left` maps leads to. */
static int
follow_chain(const struct config *conf, const struct map *map,
    enum visit *visits, int left)
{
	const struct map *end = conf->maps + conf->n_maps;
	int result = 0;

	visits[map - conf->maps] = VISIT_OPEN;
	for (const struct map *m = conf->maps; m < end && result == 0; m++) {
		enum visit visit = visits[m - conf->maps];

		if (visit == VISIT_DONE || !left || !map_leads_to(map, m))
			continue;
		if (visit == VISIT_NONE) {
			result = follow_chain(conf, m, visits, left - 1);
			continue;
		}
		log_error("%s'%.160s': its target is '%.160s', which leads "
			  "back to it: name another port or address, or a "
			  "namespace NS@",
		    map->origin, map->spec, m->spec);
		result = -1;
	}
	visits[map - conf->maps] = VISIT_DONE;
	return result;
}

int
check_chains(const struct config *conf)
{
	enum visit *visits = calloc(conf->n_maps + 1, sizeof(*visits));
	int result = 0;

	if (!visits) {
		log_error("out of memory");
		return -1;
	}
	for (size_t i = 0; i < conf->n_maps && result == 0; i++)
		if (visits[i] == VISIT_NONE)
			result = follow_chain(conf, &conf->maps[i], visits,
			    CHAIN_MAX);
	wipe_and_free(visits);
	return result;
}

int
check_stdio(const struct config *conf)
{
	for (size_t i = 0; i < conf->n_maps && conf->n_maps > 1; i++) {
		const struct map *map = &conf->maps[i];

		if (map->listen.kind != EP_STDIO)
			continue;
		log_error("%s'%s': it must be the only map", map->origin,
		    map->spec);
		return -1;
	}
	return 0;
}

int
check_pin(const struct config *conf)
{
	for (size_t i = 0; i < conf->n_maps && conf->pin; i++) {
		const struct map *map = &conf->maps[i];

		if (!map->run_as)
			continue;
		log_error("%s'%s': '--pin': not with a map that has user=",
		    map->origin, map->spec);
		return -1;
	}
	return 0;
}

int
check_stats(const struct config *conf)
{
	struct map stats = {0};
	bool tcp = conf->stats && !stats_parse(&stats, conf->stats);
	const struct map *m = conf->maps, *end = m + conf->n_maps;

	for (; conf->stats && m < end; m++)
		if (tcp ? map_conflicts(m, &stats)
			: m->listen.kind == EP_UNIX_PATH &&
			    strcmp(m->listen.name, conf->stats) == 0)
			break;
	if (tcp)
		map_free(&stats);
	if (!conf->stats || m == end)
		return 0;
	log_error("%s'%.160s': it listens where '--stats %s' does", m->origin,
	    m->spec, conf->stats);
	return -1;
}
