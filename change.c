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
#include <stdlib.h>
#include <string.h>

#include "listen_check.h"
#include "server.h"

#define RELEASE_MS 1000 /* for a mapper to close its listeners */
#define END_MS     100 /* for the kernel to close those of one that has ended */
#define RETRY_MS   10

static struct service *
ancestor(const struct services *list, const struct service *s,
    enum descent descent)
{
	struct service *old = list->service;

	for (; old < list->service + list->count; old++) {
		if (old->heir || old->proto != s->proto)
			continue;
		if (descent == DESCENT_ALL
			? spec_same(old->map, s->map)
			: old->opened && listen_same(old->map, s->map))
			return old;
	}
	return NULL;
}

static void
inherit(const struct services *list, struct service *s, enum descent descent)
{
	struct service *old = s->descent ? NULL : ancestor(list, s, descent);
	const struct map *map = s->map;

	if (!old)
		return;
	*s = *old;
	s->map = map;
	s->descent = descent;
	if (descent == DESCENT_SET) {
		s->mapper = NULL;
		s->told = 0;
	}
	old->heir = s;
}

/* What pid:N means in the list in force, it means in the plan. */
static void
keep_processes(const struct services *old, const struct conf *conf)
{
	for (size_t i = 0; i < conf->maps; i++)
		for (size_t k = 0; k < old->count; k++) {
			const struct map *was = old->service[k].map;
			struct map *map = &conf->map[i];

			ns_inherit(&map->from, &was->from);
			ns_inherit(&map->from, &was->to);
			ns_inherit(&map->to, &was->from);
			ns_inherit(&map->to, &was->to);
		}
}

/* A map has a service for each of its protocols. */
static int
plan(struct services *fresh, const struct services *old,
    const struct conf *conf)
{
	static const enum proto protos[] = {PROTO_TCP, PROTO_UDP};
	struct service *list = calloc(2 * conf->maps + 1, sizeof(*list));
	size_t n = 0;

	keep_processes(old, conf);
	for (size_t i = 0; list && i < conf->maps; i++)
		for (size_t k = 0; k < 2; k++)
			if (conf->map[i].proto & protos[k])
				list[n++] = (struct service){
				    .map = &conf->map[i],
				    .proto = protos[k],
				};
	for (size_t i = 0; i < n; i++)
		inherit(old, &list[i], DESCENT_ALL);
	for (size_t i = 0; i < n; i++)
		inherit(old, &list[i], DESCENT_SET);
	*fresh = (struct services){list, n};
	return list ? 0 : -1;
}

/* Paths are the same in all namespaces, abstract names are not. */
static bool
in_the_way(const struct service *s, const struct service *wanted)
{
	const struct side *a = &s->map->listen, *b = &wanted->map->listen;

	if (s->heir || s->proto != wanted->proto || !s->opened ||
	    (a->kind != SIDE_PATH && s->opened != wanted->from))
		return false;
	if (a->lo)
		return a->lo <= b->hi && b->lo <= a->hi;
	return a->kind == b->kind && strcmp(a->text, b->text) == 0;
}

static bool
is_blocked(const struct services *old, const struct service *wanted)
{
	for (size_t i = 0; i < old->count; i++)
		if (in_the_way(&old->service[i], wanted))
			return true;
	return false;
}

/* The namespace was there and has gone meanwhile. errno is preserved. */
static bool
may_wait(struct service *s, const uint64_t *id, const struct conf *conf)
{
	int saved = errno;
	bool may = conf->wait && service_check(s, true) == 0 && !*id;

	errno = saved;
	return may;
}

/* The same, or what the map listens on is not there. */
static bool
may_open_later(struct service *s, const struct conf *conf)
{
	if (!conf->wait || !listen_absent(s->map, errno))
		return may_wait(s, &s->from, conf);
	s->told = errno;
	s->tried = now();
	return true;
}

/*
 * Opens all listeners that no listener in force is in the way of. At the start
 * that may be a listener of the server that had the pid file before: it lets go
 * of the file first.
 */
static int
open_free(const struct services *fresh, const struct services *old,
    const struct conf *conf)
{
	for (size_t i = 0; i < fresh->count; i++) {
		struct service *s = &fresh->service[i];
		bool blocked =
		    old->count ? is_blocked(old, s) : conf->pidfile != NULL;
		int known = blocked ? EADDRINUSE : 0;

		if (!s->from || s->descent != DESCENT_NONE ||
		    service_open(s, known, conf->wait) == 0)
			continue;
		s->blocked = known && errno == known;
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
await_end(const struct child *m)
{
	deadline at = now(), until = at + RELEASE_MS;

	while (at < until && mapper_hear(m, until - at) == 0)
		at = now();
}

/* Closes listeners in force that have no heir and are in the way. */
static void
release(const struct services *old, const struct service *wanted)
{
	for (size_t i = 0; i < old->count; i++) {
		struct service *s = &old->service[i];
		struct child *m = s->mapper;

		if (!in_the_way(s, wanted))
			continue;
		service_close(s);
		s->released = true;
		if (m)
			service_retire(m, -1);
		if (m && s->proto == PROTO_UDP)
			await_end(m);
	}
}

/*
 * An abstract name, or a UDP port, is free when the mapper has closed it, too. A
 * TCP port is free at once, see listen_close(), as is a path.
 */
static deadline
patience(const struct service *s)
{
	if (s->map->listen.kind == SIDE_ABSTRACT)
		return RELEASE_MS;
	return s->proto == PROTO_UDP ? END_MS : 0;
}

/* Tries for at most that long. */
static int
open_patiently(struct service *s, deadline span)
{
	deadline until = now() + span;
	bool last;

	do {
		last = now() >= until;
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
	struct service *s, *end = fresh->service + fresh->count;

	for (s = fresh->service; s < end; s++)
		if (s->blocked)
			release(old, s);
	for (s = fresh->service; s < end; s++)
		if (s->blocked &&
		    open_patiently(s, old->count ? patience(s) : RELEASE_MS) ==
			-1)
			return -1;
	return 0;
}

/* What was released for a plan that has failed comes back at once. */
static void
restore(const struct services *old, const struct conf *conf)
{
	for (size_t i = 0; i < old->count; i++) {
		struct service *s = &old->service[i];

		if (!s->released)
			continue;
		s->released = false;
		if (open_patiently(s, patience(s)) == 0)
			service_mend(s, conf);
		else
			s->told = errno;
	}
}

/* Gives what is open, and has none, its mapper: 0, or the exit status. */
static int
bear_all(const struct services *fresh, const struct conf *conf)
{
	struct service *s, *end = fresh->service + fresh->count;

	for (s = fresh->service; s < end; s++)
		if (s->descent == DESCENT_NONE && s->opened &&
		    service_begin(s, 0) == -1)
			return 1;
	for (s = fresh->service; s < end; s++)
		if (s->descent != DESCENT_ALL && s->opened && s->to &&
		    !s->mapper && service_bear(s, conf) == -1) {
			log_error("'%s': fork: %s", s->map->word,
			    strerror(errno));
			return 1;
		}
	for (s = fresh->service; s < end; s++)
		if (s->descent != DESCENT_ALL && s->mapper &&
		    !s->mapper->stands && service_hear(s) == -1 &&
		    !may_wait(s, &s->to, conf))
			return service_explain(s->map, &s->map->to, errno);
	return 0;
}

/*
 * 0 if all of it serves, or waits; else the exit status. What can fail without a
 * listener in force being closed comes first.
 */
static int
bring_up(const struct services *fresh, const struct services *old,
    const struct conf *conf)
{
	int status = 0;

	for (size_t i = 0; i < fresh->count && !status; i++)
		if (fresh->service[i].descent != DESCENT_ALL)
			status = service_check(&fresh->service[i], conf->wait);
	if (!status)
		status = -open_free(fresh, old, conf);
	if (!status)
		status = bear_all(fresh, conf);
	if (!status)
		status = -open_blocked(fresh, old);
	return status ? status : bear_all(fresh, conf);
}

/* A mapper that is given up has accepted clients, maybe: it drains. */
static void
take_down(const struct services *fresh, const struct services *old,
    const struct conf *conf)
{
	for (size_t i = 0; i < fresh->count; i++) {
		struct service *s = &fresh->service[i];

		if (s->descent == DESCENT_ALL)
			continue;
		for (struct child *m = mapper_first(); m; m = m->next)
			if (m->service == s) {
				service_retire(m, conf->drain);
				m->service = NULL;
			}
		if (s->descent == DESCENT_NONE)
			service_close(s);
	}
	for (size_t i = 0; i < old->count; i++) {
		struct service *s = &old->service[i];

		if (s->heir) /* the spares may be others by now */
			s->set = s->heir->set;
		s->heir = NULL;
	}
	free(fresh->service);
}

/*
 * The connections of a map that changed have no limit: only of one that is
 * gone, or whose namespaces are others, which service_follow() sees.
 */
static void
bequeath(struct child *m, const struct conf *conf)
{
	struct service *heir = m->service->heir;

	if (!heir || heir->descent != DESCENT_ALL)
		service_retire(m, heir ? -1 : conf->drain);
	m->service = heir;
}

static void
commit(const struct services *fresh, struct services *old,
    const struct conf *conf)
{
	const struct service *end = old->service + old->count;

	for (struct child *m = mapper_first(); m; m = m->next)
		if (m->service >= old->service && m->service < end)
			bequeath(m, conf);
	for (size_t i = 0; i < old->count; i++)
		if (!old->service[i].heir)
			service_close(&old->service[i]);
	for (size_t i = 0; i < fresh->count; i++) {
		fresh->service[i].descent = DESCENT_NONE;
		fresh->service[i].blocked = false;
	}
	free(old->service);
	*old = *fresh;
}

int
change(struct services *list, const struct conf *conf)
{
	struct services fresh;
	int status;

	if (plan(&fresh, list, conf) == -1) {
		log_error("%s", strerror(errno));
		return 1;
	}
	status = bring_up(&fresh, list, conf);
	if (status) {
		take_down(&fresh, list, conf);
		restore(list, conf);
	} else {
		commit(&fresh, list, conf);
	}
	return status;
}
