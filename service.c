/* A service: a map and one of its protocols, its listeners and its mapper. */

#include <errno.h>
#include <sys/epoll.h>

#include "listen_check.h"
#include "server.h"

#define BIRTH_MS 5000 /* for a mapper to reach its destination */

static bool
is_other(int err)
{
	return err == EINVAL || err == EISDIR || err == ENXIO || err == ELOOP;
}

int
service_explain(const struct map *map, const struct ns *ns, int err)
{
	const char *hint = ns_hint(ns, err);

	if (ns_is_missing(err))
		log_error("%s'%s': no namespace '%s' (%s)", map->where,
		    map->word, ns_word(ns), hint);
	else if (is_other(err))
		log_error("%s'%s': '%s' is not a network namespace", map->where,
		    map->word, ns_word(ns));
	else if (err != ECANCELED) /* else the mapper has said it */
		log_error("%s'%s': %s '%s' (%s)", map->where, map->word,
		    hint ? "cannot enter namespace" : "no mapper in",
		    ns_word(ns), hint ? hint : log_errno(err));
	return ns_is_missing(err) || is_other(err) ? 2 : 1;
}

void
service_retire(struct child *m, deadline drain)
{
	if (!m->retired)
		mapper_order(m, ORDER_DRAIN);
	m->retired = true;
	if (m->service && m->service->mapper == m)
		m->service->mapper = NULL;
	if (drain >= 0 && m->until == NEVER)
		m->until = now() + drain + 1;
}

void
service_close(struct service *s)
{
	int saved = errno;

	listen_close(&s->set, s->map);
	s->opened = 0;
	s->watched = false;
	s->lost = false;
	errno = saved;
}

int
service_open(struct service *s, int known, bool waits)
{
	int entered, saved;

	if (listen_open(&s->set, s->map, s->proto, &entered, known, waits) ==
	    0) {
		s->opened = s->from;
		return 0;
	}
	saved = errno;
	service_close(s);
	if (!entered && saved != known)
		service_explain(s->map, &s->map->from, saved);
	errno = saved;
	return -1;
}

int
service_begin(struct service *s, int known)
{
	return s->proto == PROTO_UDP ? 0 : listen_begin(&s->set, s->map, known);
}

int
service_watch(struct service *s, int epoll)
{
	struct epoll_event ev = {.events = EPOLLET};

	s->watched = true;
	for (size_t i = 0; i < s->set.count && s->proto == PROTO_TCP; i++) {
		ev.data.fd = s->set.listener[i].fd;
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, ev.data.fd, &ev) == -1)
			return -1;
	}
	return 0;
}

bool
service_has(const struct service *s, int fd)
{
	for (size_t i = 0; i < s->set.count; i++)
		if (s->set.listener[i].fd == fd)
			return true;
	return false;
}

int
service_bear(struct service *s, const struct conf *conf)
{
	s->tried = now();
	listen_renew(&s->set, s->map);
	s->births++;
	s->mapper = mapper_birth(s, conf);
	return s->mapper ? 0 : -1;
}

int
service_hear(struct service *s)
{
	int saved;

	if (mapper_hear(s->mapper, BIRTH_MS) == 0) {
		s->mapper->stands = true;
		return 0;
	}
	saved = errno;
	mapper_kill(s->mapper);
	service_retire(s->mapper, 0);
	errno = saved;
	return -1;
}

static void
wait_for(const struct service *s, const struct ns *ns, int err)
{
	log_error("'%s': waits for namespace '%s' (%s)", s->map->word,
	    ns_word(ns), ns_hint(ns, ns_is_missing(err) ? err : ENOENT));
}

/* What cannot be looked at is as it was; what is new is tried at once. */
static void
identify(struct service *s, const struct ns *ns, uint64_t *id)
{
	uint64_t seen = ns_identity(ns);
	int err = errno;

	if (seen == *id || (!seen && !ns_is_missing(err) && !is_other(err)))
		return;
	*id = seen;
	s->tried = 0;
	if (!seen)
		wait_for(s, ns, err);
}

/*
 * Closes listeners that nobody can reach any more, so that others are opened. The
 * connections of their mapper have no limit: their target is the right one.
 */
static void
follow_listeners(struct service *s)
{
	const char *replaced = listen_changed(&s->set, s->map);

	if (!replaced)
		return;
	log_error("'%s': %s: listens anew", s->map->word, replaced);
	service_close(s);
	if (s->mapper)
		service_retire(s->mapper, -1);
	s->tried = 0;
}

void
service_follow(struct service *s, const struct conf *conf)
{
	identify(s, &s->map->from, &s->from);
	identify(s, &s->map->to, &s->to);
	s->silent = ns_silent(&s->map->from) || ns_silent(&s->map->to) ||
	    listen_depends(s->map);
	if (s->opened && s->opened != s->from)
		service_close(s);
	if (s->opened)
		follow_listeners(s);
	for (struct child *m = mapper_first(); m; m = m->next)
		if (m->service == s && (m->from != s->from || m->to != s->to))
			service_retire(m, conf->drain);
}

/* Opens what is not open, revives what `ss -K` has destroyed. */
static int
mend_listeners(struct service *s)
{
	if (s->lost && !s->told)
		log_error("'%s': a listening socket was destroyed (ss -K?)",
		    s->map->word);
	s->lost = false;
	if (!s->opened && service_open(s, s->told, true) == -1)
		return -1;
	if (service_begin(s, s->told) == 0)
		return 0;
	if (s->mapper)
		s->lost = true;
	else
		service_close(s);
	return -1;
}

/*
 * A mapper that has lost a listener goes on with its others until a new one
 * stands.
 */
void
service_mend(struct service *s, const struct conf *conf)
{
	struct child *old = s->mapper;

	s->tried = now();
	if (!s->from)
		return;
	if (mend_listeners(s) == -1) {
		s->told = errno;
		return;
	}
	if (!s->to)
		return;
	if (service_bear(s, conf) == -1 || service_hear(s) == -1) {
		if (s->told != errno)
			log_error("'%s': no new mapper: %s", s->map->word,
			    log_errno(errno));
		s->told = errno;
		s->mapper = old;
		s->lost = old != NULL;
		return;
	}
	if (old)
		service_retire(old, -1);
	s->told = 0;
	log_info("'%s': serves again", s->map->word);
}

int
service_check(struct service *s, bool patient)
{
	const struct ns *both[] = {&s->map->from, &s->map->to};
	uint64_t *const id[] = {&s->from, &s->to};

	for (int i = 0; i < 2; i++) {
		/* In this order: the first waits for who is making it. */
		*id[i] = 0;
		if (ns_call(both[i], NULL, NULL, NULL) == 0) {
			*id[i] = ns_identity(both[i]);
			errno = ENOENT; /* it has gone since, if it is 0 */
		}
		if (*id[i])
			continue;
		if (!ns_is_missing(errno) || !patient)
			return service_explain(s->map, both[i], errno);
		wait_for(s, both[i], errno);
	}
	return 0;
}
