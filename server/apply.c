/* Applies a configuration at the start and on reload: all of it, or nothing. */

/*
 * Theory of operation
 *
 * apply_config() makes a new list of services beside the old list, which is in
 * force. At the start the old list is empty.
 *
 * 1. make_services(): a new service reuses all of an old service if the map has
 *    not changed, and the listeners if the map listens alike. The new service
 *    is then the successor of the old one.
 * 2. prepare_new(): checks the namespaces, opens the listeners, starts the
 *    mappers and waits until each is ready. An address that an old service
 *    without a successor holds blocks a new service. Such services come last,
 *    when all others serve, because the old listener must be closed first, see
 *    takeover.c.
 * 3. commit() puts the new list in force. Old services without a successor are
 *    closed, and mappers of changed services drain.
 *
 * When step 2 fails, rollback() removes the new list. Nothing of the old list
 * was closed, unless a blocked service failed: then the old listeners are
 * opened again.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "config/map.h"
#include "netns.h"
#include "server/apply.h"
#include "server/inspect.h"
#include "server/listen.h"
#include "server/listen_check.h"
#include "server/mapper_proc.h"
#include "server/service.h"
#include "server/takeover.h"

static bool
can_reuse(const struct service *old, const struct service *s, enum reuse reuse)
{
	if (old->successor || old->proto != s->proto)
		return false;
	if (reuse == REUSE_ALL)
		return map_equal(old->map, s->map);
	return old->listeners_ns && listen_reusable(old->map, s->map);
}

static struct service *
find_reusable(const struct services *list, const struct service *s,
    enum reuse reuse)
{
	for (size_t i = 0; i < list->count; i++)
		if (can_reuse(&list->items[i], s, reuse))
			return &list->items[i];
	return NULL;
}

static void
reuse_old(const struct services *list, struct service *s, enum reuse reuse)
{
	struct service *old = s->reuse ? NULL : find_reusable(list, s, reuse);
	const struct map *map = s->map;

	if (!old)
		return;
	*s = *old;
	s->map = map;
	s->reuse = reuse;
	if (reuse == REUSE_LISTENERS) {
		s->mapper = NULL;
		s->logged_errno = 0;
	}
	old->successor = s;
}

/* Makes pid:N mean the same process in the new maps as in the old ones. */
static void
inherit_processes(const struct services *old, const struct config *conf)
{
	for (size_t i = 0; i < conf->n_maps; i++)
		for (size_t k = 0; k < old->count; k++) {
			const struct map *from = old->items[k].map;
			struct map *map = &conf->maps[i];

			ns_inherit(&map->listen_ns, &from->listen_ns);
			ns_inherit(&map->listen_ns, &from->target_ns);
			ns_inherit(&map->target_ns, &from->listen_ns);
			ns_inherit(&map->target_ns, &from->target_ns);
		}
}

/*
 * Makes the new list. Equal maps are matched first, so that no map that only
 * listens alike takes their old service. Returns -1 with errno.
 */
static int
make_services(struct services *fresh, const struct services *old,
    const struct config *conf)
{
	static const enum proto protos[] = {PROTO_TCP, PROTO_UDP};
	struct service *items = calloc(2 * conf->n_maps + 1, sizeof(*items));
	size_t n = 0;

	if (!items)
		return -1;
	inherit_processes(old, conf);
	for (size_t i = 0; i < conf->n_maps; i++)
		for (size_t k = 0; k < ARRAY_LEN(protos); k++)
			if (conf->maps[i].proto & protos[k])
				items[n++] = (struct service){
				    .map = &conf->maps[i],
				    .proto = protos[k],
				};
	for (size_t i = 0; i < n; i++)
		reuse_old(old, &items[i], REUSE_ALL);
	for (size_t i = 0; i < n; i++)
		reuse_old(old, &items[i], REUSE_LISTENERS);
	*fresh = (struct services){items, n};
	return 0;
}

/*
 * Returns true if --wait is given and a namespace was removed after the check
 * of namespaces: the service then waits for it. Keeps errno.
 */
static bool
may_wait_for_ns(struct service *s, const uint64_t *id,
    const struct config *conf)
{
	int saved = errno;
	bool may = conf->wait_for_ns && service_probe_ns(s, true) == 0 && !*id;

	errno = saved;
	return may;
}

/*
 * Returns true if --wait is given and the address or the namespace is absent:
 * the service then waits for it.
 */
static bool
may_open_later(struct service *s, const struct config *conf)
{
	if (!conf->wait_for_ns || !listen_absent(s->map, errno))
		return may_wait_for_ns(s, &s->listen_ns_id, conf);
	s->logged_errno = errno;
	s->last_attempt = now_ms();
	return true;
}

/*
 * Opens all new services but those that are blocked. With a pid file, a server
 * that is being replaced may block at the start, too.
 */
static int
open_unblocked(const struct services *fresh, const struct services *old,
    const struct config *conf)
{
	for (size_t i = 0; i < fresh->count; i++) {
		struct service *s = &fresh->items[i];
		bool may_block = old->count ? takeover_is_blocked(old, s)
					    : conf->pidfile != NULL;
		int quiet_errno = may_block ? EADDRINUSE : 0;

		if (!s->listen_ns_id || s->reuse != REUSE_NONE ||
		    service_open(s, quiet_errno, conf->wait_for_ns) == 0)
			continue;
		s->blocked = may_block && errno == EADDRINUSE;
		if (!s->blocked && !may_open_later(s, conf))
			return -1;
	}
	return 0;
}

/* Returns true if the service is open, but its mapper has not been started. */
static bool
lacks_mapper(const struct service *s)
{
	return s->reuse != REUSE_ALL && s->listeners_ns && s->target_ns_id &&
	    !s->mapper;
}

/* Returns true if the mapper has been started, but has not replied. */
static bool
is_starting(const struct service *s)
{
	return s->reuse != REUSE_ALL && s->mapper && !s->mapper->ready;
}

/*
 * Starts the mappers of open services; all listen before the first one starts.
 * Returns 0, or the exit status.
 */
static int
spawn_mappers(const struct services *fresh, const struct config *conf)
{
	struct service *s, *end = fresh->items + fresh->count;

	for (s = fresh->items; s < end; s++)
		if (s->reuse == REUSE_NONE && s->listeners_ns &&
		    service_listen(s, 0) == -1)
			return 1;
	for (s = fresh->items; s < end; s++)
		if (lacks_mapper(s) && service_spawn_mapper(s, conf) == -1) {
			log_error("'%s': fork: %s", s->map->spec,
			    strerror(errno));
			return 1;
		}
	for (s = fresh->items; s < end; s++)
		if (is_starting(s) && service_wait_ready(s) == -1 &&
		    !may_wait_for_ns(s, &s->target_ns_id, conf))
			return log_ns_error(s->map, &s->map->target_ns, errno);
	return 0;
}

/*
 * Checks the namespaces of a service, and what its targets depend on, which is
 * the same for both protocols of a map. Returns 0, or the exit status.
 */
static int
probe_service(struct service *s, const struct config *conf)
{
	int status = service_probe_ns(s, conf->wait_for_ns);

	if (status || !s->target_ns_id ||
	    (s->proto == PROTO_UDP && s->map->proto != PROTO_UDP))
		return status;
	return inspect_targets(s->map, conf);
}

/*
 * Checks all new services, so that the log has each that is wrong. Returns 0,
 * or the exit status.
 */
static int
probe_services(const struct services *fresh, const struct config *conf)
{
	const struct map *wrong = NULL;
	int status = 0;

	for (size_t i = 0; i < fresh->count; i++) {
		struct service *s = &fresh->items[i];
		int result;

		if (s->reuse == REUSE_ALL || s->map == wrong)
			continue;
		result = probe_service(s, conf);
		if (result)
			wrong = s->map;
		status = result > status ? result : status;
	}
	return status;
}

/* Returns 0 if all new services serve or wait; else the exit status. */
static int
prepare_new(const struct services *fresh, const struct services *old,
    const struct config *conf)
{
	int status = probe_services(fresh, conf);

	if (!status)
		status = -open_unblocked(fresh, old, conf);
	if (!status)
		status = spawn_mappers(fresh, conf);
	if (!status)
		status = -takeover_open(fresh, old);
	return status ? status : spawn_mappers(fresh, conf);
}

/*
 * Lets the mappers of a service drain, because they may have accepted clients.
 */
static void
drain_mappers_of(const struct service *s, msec timeout)
{
	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (m->service == s) {
			mapper_drain(m, timeout);
			m->service = NULL;
		}
}

static void
rollback(const struct services *fresh, const struct services *old,
    const struct config *conf)
{
	for (size_t i = 0; i < fresh->count; i++) {
		struct service *s = &fresh->items[i];

		if (s->reuse == REUSE_ALL)
			continue;
		drain_mappers_of(s, conf->drain_timeout);
		if (s->reuse == REUSE_NONE)
			service_close(s);
	}
	for (size_t i = 0; i < old->count; i++) {
		struct service *s = &old->items[i];

		/* The successor may have opened new UDP relays. */
		if (s->successor)
			s->listeners = s->successor->listeners;
		s->successor = NULL;
	}
	free(fresh->items);
}

/*
 * Hands a mapper over to the new service, or lets it drain: without a limit if
 * its map has changed, with a limit if its map is no longer configured.
 */
static void
hand_over(struct mapper_proc *m, const struct config *conf)
{
	struct service *successor = m->service->successor;

	if (!successor || successor->reuse != REUSE_ALL)
		mapper_drain(m, successor ? -1 : conf->drain_timeout);
	m->service = successor;
}

static void
commit(const struct services *fresh, struct services *old,
    const struct config *conf)
{
	const struct service *end = old->items + old->count;

	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (m->service >= old->items && m->service < end)
			hand_over(m, conf);
	for (size_t i = 0; i < old->count; i++)
		if (!old->items[i].successor)
			service_close(&old->items[i]);
	for (size_t i = 0; i < fresh->count; i++) {
		fresh->items[i].reuse = REUSE_NONE;
		fresh->items[i].blocked = false;
	}
	free(old->items);
	*old = *fresh;
}

int
apply_config(struct services *list, const struct config *conf)
{
	struct services fresh;
	int status;

	if (make_services(&fresh, list, conf) == -1) {
		log_error("%s", strerror(errno));
		return 1;
	}
	status = prepare_new(&fresh, list, conf);
	if (status) {
		rollback(&fresh, list, conf);
		takeover_undo(list, conf);
	} else {
		commit(&fresh, list, conf);
	}
	return status;
}
