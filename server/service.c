/* Opens, checks and repairs a service. */

/*
 * Theory of operation
 *
 * service_check_ns() finds changes: it closes listeners that clients cannot
 * reach any more, and drains mappers in a namespace that was replaced.
 * service_retry() repairs: it opens listeners if there are none, makes
 * destroyed ones listen again, and starts a mapper. The server calls both;
 * apply.c calls the single steps.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/errname.h"
#include "base/log.h"
#include "config/absent.h"
#include "config/config.h"
#include "config/habit.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "netns.h"
#include "server/listen.h"
#include "server/listen_check.h"
#include "server/mapper_proc.h"
#include "server/service.h"

#define MAPPER_READY_MS 5000 /* until a mapper is ready */

static bool
is_not_netns(int err)
{
	return err == EINVAL || err == EISDIR || err == ENXIO || err == ELOOP;
}

int
log_ns_error(const struct map *map, const struct ns *ns, int err)
{
	const char *hint = ns_hint(ns, err);
	char text[ABSENT_SIZE];
	bool habit = habit_advice(text, HABIT_NS, ns_spec(ns),
			 strlen(ns_spec(ns))) != NULL;

	if (ns_is_missing(err))
		log_error("%s'%s': no namespace '%s' (%s; --wait waits for it)",
		    map->origin, map->spec, ns_spec(ns),
		    absent_hint(text, ns, err));
	else if (is_not_netns(err))
		log_error("%s'%s': '%s' is not a network namespace%s%s%s",
		    map->origin, map->spec, ns_spec(ns), habit ? " (" : "",
		    habit ? text : "", habit ? ")" : "");
	else if (err != ECANCELED) /* the mapper has logged ECANCELED */
		log_error("%s'%s': %s '%s' (%s)", map->origin, map->spec,
		    hint ? "cannot enter namespace" : "no mapper in",
		    ns_spec(ns), hint ? hint : errno_name(err));
	return ns_is_missing(err) || is_not_netns(err) ? EXIT_USAGE : 1;
}

void
service_close(struct service *s)
{
	int saved = errno;

	/* close(2) ends no watch while a duplicate is open. */
	for (size_t i = 0; s->epoll && i < s->listeners.count; i++)
		epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->listeners.items[i].fd,
		    NULL);
	listen_close(&s->listeners, s->map);
	s->listeners_ns = 0;
	s->epoll = 0;
	s->lost = false;
	errno = saved;
}

int
service_open(struct service *s, int quiet_errno, bool waits)
{
	int entered, saved;

	if (listen_open(&s->listeners, s->map, s->proto, &entered, quiet_errno,
		waits) == 0) {
		s->listeners_ns = s->listen_ns_id;
		return 0;
	}
	saved = errno;
	service_close(s);
	if (!entered && saved != quiet_errno)
		log_ns_error(s->map, &s->map->listen_ns, saved);
	errno = saved;
	return -1;
}

int
service_listen(struct service *s, int quiet_errno)
{
	if (s->proto == PROTO_UDP)
		return 0;
	return listen_start(&s->listeners, s->map, quiet_errno);
}

int
service_watch(struct service *s, int epoll)
{
	struct epoll_event ev = {.events = EPOLLET};

	s->epoll = epoll;
	for (size_t i = 0; i < s->listeners.count && s->proto == PROTO_TCP;
	     i++) {
		ev.data.fd = s->listeners.items[i].fd;
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, ev.data.fd, &ev) == -1)
			return -1;
	}
	return 0;
}

bool
service_has(const struct service *s, int fd)
{
	for (size_t i = 0; i < s->listeners.count; i++)
		if (s->listeners.items[i].fd == fd)
			return true;
	return false;
}

int
service_spawn_mapper(struct service *s, const struct config *conf)
{
	s->last_attempt = now_ms();
	s->mapper_starts++;
	s->mapper = mapper_spawn(s, conf);
	return s->mapper ? 0 : -1;
}

int
service_wait_ready(struct service *s)
{
	int saved;

	if (mapper_wait_reply(s->mapper, MAPPER_READY_MS) == 0) {
		s->mapper->ready = true;
		return 0;
	}
	saved = errno;
	mapper_kill(s->mapper);
	mapper_drain(s->mapper, 0);
	errno = saved;
	return -1;
}

void
log_waiting(const struct map *map, const struct ns *ns, int err)
{
	char text[ABSENT_SIZE];

	log_error("%s'%s': waits for namespace '%s' (%s)", map->origin,
	    map->spec, ns_spec(ns), absent_hint(text, ns, err));
}

/*
 * Logs that a namespace of the service has gone. `ip netns del` unmounts a name
 * before it removes it, so that an empty file is no other mount namespace's.
 */
static void
log_gone(const struct service *s, const struct ns *ns, int err)
{
	const bool file = ns->kind == NS_NAME || ns->kind == NS_PATH;

	if (file && (err == ENOENT || err == ENODATA))
		log_error("%s'%s': waits for namespace '%s' (it was deleted)",
		    s->map->origin, s->map->spec, ns_spec(ns));
	else
		log_waiting(s->map, ns, err);
}

/*
 * Records the present id of a namespace. Ignores an error, unless it means that
 * the namespace is absent. After a change the service is retried at once.
 */
static void
update_ns_id(struct service *s, const struct ns *ns, uint64_t *id)
{
	uint64_t seen = ns_id(ns);
	int err = errno;

	if (seen == *id || (!seen && !ns_is_missing(err) && !is_not_netns(err)))
		return;
	*id = seen;
	s->last_attempt = 0;
	if (!seen)
		log_gone(s, ns, err);
}

/*
 * Closes listeners that clients cannot reach any more. The mapper drains
 * without a limit, because the target of its connections is still the right
 * one.
 */
static void
check_listeners(struct service *s)
{
	const char *replaced = listen_changed(&s->listeners, s->map);

	if (!replaced)
		return;
	log_error("'%s': %s: listens anew", s->map->spec, replaced);
	service_close(s);
	if (s->mapper)
		mapper_drain(s->mapper, -1);
	s->last_attempt = 0;
}

void
service_check_ns(struct service *s, const struct config *conf)
{
	update_ns_id(s, &s->map->listen_ns, &s->listen_ns_id);
	update_ns_id(s, &s->map->target_ns, &s->target_ns_id);
	s->poll_ns = ns_needs_polling(&s->map->listen_ns) ||
	    ns_needs_polling(&s->map->target_ns) || listen_depends(s->map);
	if (s->listeners_ns && s->listeners_ns != s->listen_ns_id)
		service_close(s);
	if (s->listeners_ns)
		check_listeners(s);
	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (m->service == s &&
		    (m->listen_ns_id != s->listen_ns_id ||
			m->target_ns_id != s->target_ns_id))
			mapper_drain(m, conf->drain_timeout);
}

/*
 * Opens the listeners if there are none, and makes those listen again that `ss
 * -K` has destroyed. Returns -1 with errno.
 */
static int
reopen_listeners(struct service *s)
{
	if (s->lost && !s->logged_errno)
		log_error("'%s': a listening socket was destroyed (ss -K?)",
		    s->map->spec);
	s->lost = false;
	if (!s->listeners_ns && service_open(s, s->logged_errno, true) == -1)
		return -1;
	if (service_listen(s, s->logged_errno) == 0)
		return 0;
	if (s->mapper)
		s->lost = true;
	else
		service_close(s);
	return -1;
}

/* Logs why a mapper was not replaced, by errno, unless it was logged before. */
static void
log_not_replaced(struct service *s, const struct config *conf)
{
	const char *why = conf->pin && errno == EPERM
	    ? " (--pin dropped the privileges: restart nsfwd)"
	    : "";

	if (s->logged_errno != errno)
		log_error("'%s': no new mapper: %s%s", s->map->spec,
		    errno_name(errno), why);
	s->logged_errno = errno;
}

/*
 * Starts a new mapper; the old one drains once the new one is ready. Returns -1
 * with errno; then the service keeps the old mapper.
 */
static int
replace_mapper(struct service *s, const struct config *conf)
{
	struct mapper_proc *old = s->mapper;

	if (service_spawn_mapper(s, conf) == 0 && service_wait_ready(s) == 0) {
		if (old)
			mapper_drain(old, -1);
		return 0;
	}
	s->mapper = old;
	s->lost = old != NULL;
	return -1;
}

/* Returns false also if the container runs, but could not be entered. */
static bool
is_absent_container(const struct ns *ns)
{
	char text[NS_TEXT_SIZE];

	return ns->kind == NS_CONTAINER && !*ns_describe(ns, text);
}

bool
service_awaits_container(const struct service *s)
{
	if (!s->listen_ns_id)
		return is_absent_container(&s->map->listen_ns);
	return !s->target_ns_id && is_absent_container(&s->map->target_ns) &&
	    s->listeners_ns && !s->lost;
}

void
service_retry(struct service *s, const struct config *conf)
{
	s->last_attempt = now_ms();
	if (!s->listen_ns_id)
		return;
	if (reopen_listeners(s) == -1) {
		s->logged_errno = errno;
		return;
	}
	if (!s->target_ns_id)
		return;
	if (replace_mapper(s, conf) == -1) {
		log_not_replaced(s, conf);
		return;
	}
	s->logged_errno = 0;
	log_info("'%s': serves again", s->map->spec);
}

/*
 * Enters the namespace before it asks for the id, because ns_call() waits for a
 * namespace that is being made. Returns the id, or 0 with errno.
 */
static uint64_t
probe_ns(const struct ns *ns)
{
	uint64_t id;

	if (ns_call(ns, NULL, NULL, NULL) == -1)
		return 0;
	id = ns_id(ns);
	if (!id)
		errno = ENOENT; /* the namespace was removed meanwhile */
	return id;
}

int
service_probe_ns(struct service *s, bool wait)
{
	const struct ns *both[] = {&s->map->listen_ns, &s->map->target_ns};
	uint64_t *const id[] = {&s->listen_ns_id, &s->target_ns_id};

	int status = 0;

	for (int i = 0; i < 2; i++) {
		*id[i] = probe_ns(both[i]);
		if (*id[i] || (status && ns_same(both[0], both[1])))
			continue;
		if (ns_is_missing(errno) && wait)
			log_waiting(s->map, both[i], errno);
		else
			status |= log_ns_error(s->map, both[i], errno);
	}
	return status & EXIT_USAGE ? EXIT_USAGE : status;
}
