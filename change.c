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
 */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

#define RELEASE_MS 1000 /* for a mapper to close its listeners */

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

/* The first that cannot be opened, or NULL. */
static struct service *
open_sets(const struct services *fresh, int known)
{
	for (size_t i = 0; i < fresh->count; i++) {
		struct service *s = &fresh->service[i];

		if (!s->opened && s->from && s->descent == DESCENT_NONE &&
		    service_open(s, known) == -1)
			return s;
	}
	return NULL;
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

/* What has no heir and is in the way lets go of its addresses. */
static bool
release(const struct services *old, const struct service *wanted)
{
	bool any = false;

	for (size_t i = 0; i < old->count; i++) {
		struct service *s = &old->service[i];

		if (!in_the_way(s, wanted))
			continue;
		any = true;
		service_close(s);
		if (s->mapper)
			service_retire(s->mapper, -1);
	}
	return any;
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

/*
 * The address of one may be that of another that is about to go: that is asked
 * to let go of it first, and its mapper takes a moment. Should the plan fail
 * all the same, it is mended. At the start it may be that of the server that had
 * the pid file before, which lets go of the file first.
 */
static int
open_patiently(const struct services *fresh, const struct services *old,
    const struct conf *conf)
{
	bool patient = old->count || conf->pidfile;
	int known = patient ? EADDRINUSE : 0;
	deadline until = old->count ? 0 : now() + RELEASE_MS;
	struct service *s;

	while ((s = open_sets(fresh, known))) {
		if (errno != EADDRINUSE && may_wait(s, &s->from, conf))
			continue;
		if (errno != EADDRINUSE || !known)
			return -1;
		if (release(old, s))
			until = now() + RELEASE_MS;
		if (now() >= until)
			known = 0;
		else
			poll(NULL, 0, RELEASE_MS / 100);
	}
	return 0;
}

static int
bear_all(const struct services *fresh, const struct conf *conf)
{
	struct service *s, *end = fresh->service + fresh->count;

	for (s = fresh->service; s < end; s++)
		if (s->descent != DESCENT_ALL && s->opened && s->to &&
		    service_bear(s, conf) == -1) {
			log_error("'%s': fork: %s", s->map->word,
			    strerror(errno));
			return 1;
		}
	for (s = fresh->service; s < end; s++)
		if (s->descent != DESCENT_ALL && s->mapper &&
		    service_hear(s) == -1 && !may_wait(s, &s->to, conf))
			return service_explain(s->map, &s->map->to, errno);
	return 0;
}

/* 0 if all of it serves, or waits; else the exit status. */
static int
bring_up(const struct services *fresh, const struct services *old,
    const struct conf *conf)
{
	int status = 0;

	for (size_t i = 0; i < fresh->count && !status; i++)
		if (fresh->service[i].descent != DESCENT_ALL)
			status = service_check(&fresh->service[i], conf->wait);
	if (!status)
		status = -open_patiently(fresh, old, conf);
	for (size_t i = 0; i < fresh->count && !status; i++)
		if (fresh->service[i].descent == DESCENT_NONE &&
		    fresh->service[i].opened)
			status = -service_begin(&fresh->service[i]);
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
	for (size_t i = 0; i < fresh->count; i++)
		fresh->service[i].descent = DESCENT_NONE;
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
	if (status)
		take_down(&fresh, list, conf);
	else
		commit(&fresh, list, conf);
	return status;
}
