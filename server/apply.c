/* A new configuration: it comes into force as a whole, or not at all. */

/*
 * Theory of operation
 *
 * A plan is a list of services. Those that did not change are taken over from
 * the list in force as they are; others that listen alike take over the
 * listeners. Everything is checked before anything is bound, everything is
 * bound and listens before the first mapper is born, and only when all of them
 * stand is the plan the list in force. The start is the same, with nothing to
 * take over.
 *
 * A service of the plan may be blocked by a listener in force that overlaps its
 * address and goes with the plan. Such a listener is closed last, when all that
 * is not blocked stands: a plan that fails has closed nothing, unless it is a
 * blocked service that fails; then what was closed is restored at once.
 */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "netns.h"
#include "server/apply.h"
#include "server/listen.h"
#include "server/listen_check.h"
#include "server/mapper_proc.h"
#include "server/service.h"

#define RELEASE_MS 1000 /* for a mapper to close its listeners */
#define END_MS     100 /* for the kernel to close those of one that has ended */
#define RETRY_MS   10

static struct service *
find_reusable(const struct services *list, const struct service *s,
    enum reuse reuse)
{
	struct service *old = list->items;

	for (; old < list->items + list->count; old++) {
		if (old->successor || old->proto != s->proto)
			continue;
		if (reuse == REUSE_ALL ? map_equal(old->map, s->map)
				       : old->listeners_ns &&
			    listen_reusable(old->map, s->map))
			return old;
	}
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

/* What pid:N means in the list in force, it means in the plan. */
static void
keep_processes(const struct services *old, const struct config *conf)
{
	for (size_t i = 0; i < conf->n_maps; i++)
		for (size_t k = 0; k < old->count; k++) {
			const struct map *was = old->items[k].map;
			struct map *map = &conf->maps[i];

			ns_inherit(&map->listen_ns, &was->listen_ns);
			ns_inherit(&map->listen_ns, &was->target_ns);
			ns_inherit(&map->target_ns, &was->listen_ns);
			ns_inherit(&map->target_ns, &was->target_ns);
		}
}

/* A map has a service for each of its protocols. */
static int
plan(struct services *fresh, const struct services *old,
    const struct config *conf)
{
	static const enum proto protos[] = {PROTO_TCP, PROTO_UDP};
	struct service *list = calloc(2 * conf->n_maps + 1, sizeof(*list));
	size_t n = 0;

	keep_processes(old, conf);
	for (size_t i = 0; list && i < conf->n_maps; i++)
		for (size_t k = 0; k < 2; k++)
			if (conf->maps[i].proto & protos[k])
				list[n++] = (struct service){
				    .map = &conf->maps[i],
				    .proto = protos[k],
				};
	for (size_t i = 0; i < n; i++)
		reuse_old(old, &list[i], REUSE_ALL);
	for (size_t i = 0; i < n; i++)
		reuse_old(old, &list[i], REUSE_LISTENERS);
	*fresh = (struct services){list, n};
	return list ? 0 : -1;
}

/* Paths are the same in all namespaces, abstract names are not. */
static bool
holds_address(const struct service *s, const struct service *wanted)
{
	const struct endpoint *a = &s->map->listen, *b = &wanted->map->listen;

	if (s->successor || s->proto != wanted->proto || !s->listeners_ns ||
	    (a->kind != EP_UNIX_PATH &&
		s->listeners_ns != wanted->listen_ns_id))
		return false;
	if (a->port_first)
		return a->port_first <= b->port_last &&
		    b->port_first <= a->port_last;
	return a->kind == b->kind && strcmp(a->name, b->name) == 0;
}

static bool
is_blocked(const struct services *old, const struct service *wanted)
{
	for (size_t i = 0; i < old->count; i++)
		if (holds_address(&old->items[i], wanted))
			return true;
	return false;
}

/* The namespace was there and has gone meanwhile. errno is preserved. */
static bool
may_start_waiting(struct service *s, const uint64_t *id,
    const struct config *conf)
{
	int saved = errno;
	bool may = conf->wait_for_ns && service_probe_ns(s, true) == 0 && !*id;

	errno = saved;
	return may;
}

/* The same, or what the map listens on is not there. */
static bool
may_open_later(struct service *s, const struct config *conf)
{
	if (!conf->wait_for_ns || !listen_absent(s->map, errno))
		return may_start_waiting(s, &s->listen_ns_id, conf);
	s->logged_errno = errno;
	s->last_attempt = now_ms();
	return true;
}

/*
 * Opens all listeners that no listener in force is in the way of. At the start
 * that may be a listener of the server that had the pid file before: it lets go
 * of the file first.
 */
static int
open_free(const struct services *fresh, const struct services *old,
    const struct config *conf)
{
	for (size_t i = 0; i < fresh->count; i++) {
		struct service *s = &fresh->items[i];
		bool blocked =
		    old->count ? is_blocked(old, s) : conf->pidfile != NULL;
		int quiet_errno = blocked ? EADDRINUSE : 0;

		if (!s->listen_ns_id || s->reuse != REUSE_NONE ||
		    service_open(s, quiet_errno, conf->wait_for_ns) == 0)
			continue;
		s->blocked = quiet_errno && errno == quiet_errno;
		if (!s->blocked && !may_open_later(s, conf))
			return -1;
	}
	return 0;
}

/*
 * Waits for the end of a UDP mapper that was told to drain, so that its sockets
 * are closed; for no longer than it may take, whatever that mapper says.
 */
static void
wait_for_exit(const struct mapper_proc *m)
{
	msec at = now_ms(), deadline = at + RELEASE_MS;

	while (at < deadline && mapper_wait_reply(m, deadline - at) == 0)
		at = now_ms();
}

/* Closes listeners in force that have no heir and are in the way. */
static void
release_blocking(const struct services *old, const struct service *wanted)
{
	for (size_t i = 0; i < old->count; i++) {
		struct service *s = &old->items[i];
		struct mapper_proc *m = s->mapper;

		if (!holds_address(s, wanted))
			continue;
		service_close(s);
		s->released = true;
		if (m)
			mapper_drain(m, -1);
		if (m && s->proto == PROTO_UDP)
			wait_for_exit(m);
	}
}

/*
 * An abstract name, or a UDP port, is free when the mapper has closed it, too. A
 * TCP port is free at once, see listen_close(), as is a path.
 */
static msec
release_time(const struct service *s)
{
	if (s->map->listen.kind == EP_UNIX_ABSTRACT)
		return RELEASE_MS;
	return s->proto == PROTO_UDP ? END_MS : 0;
}

/* Tries for at most that long. */
static int
open_with_retry(struct service *s, msec timeout)
{
	msec deadline = now_ms() + timeout;
	bool last;

	do {
		last = now_ms() >= deadline;
		if (service_open(s, last ? 0 : EADDRINUSE, false) == 0)
			return 0;
		if (!last && errno == EADDRINUSE)
			poll(NULL, 0, RETRY_MS);
	} while (!last && errno == EADDRINUSE);
	return -1;
}

static int
open_blocked(const struct services *fresh, const struct services *old)
{
	struct service *s, *end = fresh->items + fresh->count;

	for (s = fresh->items; s < end; s++)
		if (s->blocked)
			release_blocking(old, s);
	for (s = fresh->items; s < end; s++)
		if (s->blocked &&
		    open_with_retry(s,
			old->count ? release_time(s) : RELEASE_MS) == -1)
			return -1;
	return 0;
}

/* What was released for a plan that has failed comes back at once. */
static void
reopen_released(const struct services *old, const struct config *conf)
{
	for (size_t i = 0; i < old->count; i++) {
		struct service *s = &old->items[i];

		if (!s->released)
			continue;
		s->released = false;
		if (open_with_retry(s, release_time(s)) == 0)
			service_retry(s, conf);
		else
			s->logged_errno = errno;
	}
}

/* Gives what is open, and has none, its mapper: 0, or the exit status. */
static int
spawn_mappers(const struct services *fresh, const struct config *conf)
{
	struct service *s, *end = fresh->items + fresh->count;

	for (s = fresh->items; s < end; s++)
		if (s->reuse == REUSE_NONE && s->listeners_ns &&
		    service_listen(s, 0) == -1)
			return 1;
	for (s = fresh->items; s < end; s++)
		if (s->reuse != REUSE_ALL && s->listeners_ns &&
		    s->target_ns_id && !s->mapper &&
		    service_spawn_mapper(s, conf) == -1) {
			log_error("'%s': fork: %s", s->map->spec,
			    strerror(errno));
			return 1;
		}
	for (s = fresh->items; s < end; s++)
		if (s->reuse != REUSE_ALL && s->mapper && !s->mapper->ready &&
		    service_wait_ready(s) == -1 &&
		    !may_start_waiting(s, &s->target_ns_id, conf))
			return log_ns_error(s->map, &s->map->target_ns, errno);
	return 0;
}

/*
 * 0 if all of it serves, or waits; else the exit status. What can fail without a
 * listener in force being closed comes first.
 */
static int
prepare_new(const struct services *fresh, const struct services *old,
    const struct config *conf)
{
	int status = 0;

	for (size_t i = 0; i < fresh->count && !status; i++)
		if (fresh->items[i].reuse != REUSE_ALL)
			status = service_probe_ns(&fresh->items[i],
			    conf->wait_for_ns);
	if (!status)
		status = -open_free(fresh, old, conf);
	if (!status)
		status = spawn_mappers(fresh, conf);
	if (!status)
		status = -open_blocked(fresh, old);
	return status ? status : spawn_mappers(fresh, conf);
}

/* A mapper that is given up has accepted clients, maybe: it drains. */
static void
rollback(const struct services *fresh, const struct services *old,
    const struct config *conf)
{
	for (size_t i = 0; i < fresh->count; i++) {
		struct service *s = &fresh->items[i];

		if (s->reuse == REUSE_ALL)
			continue;
		for (struct mapper_proc *m = mapper_list(); m; m = m->next)
			if (m->service == s) {
				mapper_drain(m, conf->drain_timeout);
				m->service = NULL;
			}
		if (s->reuse == REUSE_NONE)
			service_close(s);
	}
	for (size_t i = 0; i < old->count; i++) {
		struct service *s = &old->items[i];

		if (s->successor) /* the spares may be others by now */
			s->listeners = s->successor->listeners;
		s->successor = NULL;
	}
	free(fresh->items);
}

/*
 * The connections of a map that changed have no limit: only of one that is
 * gone, or whose namespaces are others, which service_follow() sees.
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

	if (plan(&fresh, list, conf) == -1) {
		log_error("%s", strerror(errno));
		return 1;
	}
	status = prepare_new(&fresh, list, conf);
	if (status) {
		rollback(&fresh, list, conf);
		reopen_released(list, conf);
	} else {
		commit(&fresh, list, conf);
	}
	return status;
}
