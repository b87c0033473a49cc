/* Reads the configuration again, for a reload. */

/*
 * Theory of operation
 *
 * A reload changes maps, but no option. So files in which an option has changed
 * mean two configurations: that of the next start, and the same maps with the
 * options in force. apply_config() checks the latter. The former is checked
 * here, as far as it differs, so that a reload fails where the next start would
 * fail.
 */

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/sandbox.h"
#include "base/text.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "config/options.h"
#include "config/users.h"
#include "netns.h"
#include "server/daemon.h"
#include "server/inspect.h"
#include "server/readers.h"
#include "server/reread.h"
#include "server/service.h"
#include "server/takeover.h"
#include "server/unix_listener.h"

/* Returns true if a map of this server listens on a path. */
static bool
map_has_path(const struct services *list, const char *path)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct service *s = &list->items[i];

		if (s->listeners_ns && s->map->listen.kind == EP_UNIX_PATH &&
		    strcmp(s->map->listen.name, path) == 0)
			return true;
	}
	return false;
}

/* Returns true if this server holds the address that `wanted` is to open. */
static bool
holds_stats(const struct running *now, const struct readers *wanted)
{
	const struct map *map = &wanted->tcp.map;
	const struct readers *own = now->readers;
	struct service s = {.map = map, .proto = PROTO_TCP}, tcp;
	const struct services stats = {&tcp, own->tcp.service.map != NULL};

	if (wanted->stats.path)
		return map_has_path(now->services, wanted->stats.path) ||
		    (own->stats.fd != -1 &&
			!unix_file_changed(&own->stats.file,
			    wanted->stats.path));
	s.listen_ns_id = ns_id(&map->listen_ns);
	tcp = own->tcp.service;
	return takeover_is_blocked(now->services, &s) ||
	    takeover_is_blocked(&stats, &s);
}

/*
 * Opens the socket of --stats for a moment, as a start does. Binds nothing if
 * this server has the address, or is pinned.
 */
static int
try_stats(const struct config *next, const struct running *now)
{
	struct readers wanted;
	int status;

	readers_init(&wanted, now->services, next);
	if (now->pinned || holds_stats(now, &wanted))
		status = inspect_stats(next);
	else
		status = readers_open(&wanted);
	readers_close(&wanted);
	return status;
}

static int
check_maps(const struct config *next, const struct config *fresh,
    const struct config *conf)
{
	const bool all = !cred_equal(&next->owner_cred, &conf->owner_cred) ||
	    next->wait_for_ns != conf->wait_for_ns;
	int status = 0;

	for (size_t i = 0; i < next->n_maps; i++) {
		const struct map *a = &next->maps[i], *b = &fresh->maps[i];

		if (all || i >= fresh->n_maps || !map_equal(a, b) ||
		    !ns_same(&a->listen_ns, &b->listen_ns) ||
		    !ns_same(&a->target_ns, &b->target_ns))
			status |= inspect_map(a, next);
	}
	return status;
}

/* Returns 0, or the exit status of a start with `next`, logged. */
static int
check_next_start(const struct config *next, const struct config *fresh,
    const struct running *now)
{
	const struct config *conf = now->conf;
	int status = inspect_program(next);

	if (!now->pinned && !cred_equal(&next->owner_cred, &conf->owner_cred))
		status |= inspect_user(next);
	if (!status && !text_equal(next->stats, conf->stats))
		status |= try_stats(next, now);
	if (next->pidfile && !text_equal(next->pidfile, conf->pidfile))
		status |= pidfile_check(next->pidfile, !now->pinned);
	return status | check_maps(next, fresh, conf);
}

int
reread_config(const struct running *now, struct config *fresh)
{
	struct options next;
	int result = config_reread(now->conf, fresh, &next);

	users_set_default(&next.config);
	if (result == 0 && next.config.n_maps &&
	    check_next_start(&next.config, fresh, now)) {
		config_free_maps(fresh);
		result = -1;
	}
	options_free_again(&next);
	return result;
}
