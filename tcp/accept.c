/* Accepts clients under the limits of a map. */

/*
 * Theory of operation
 *
 * Each listener is watched by itself, level-triggered. Accepting pauses at a
 * limit, or when the machine has run out of a resource. A listener that then
 * reports a client is unwatched and put at the end of a queue, so that its
 * clients wait in the kernel; the other listeners stay watched. When the pause
 * is over, listeners are watched again from the head of the queue, as many as
 * there is room for connections. So a connection at the limit costs two calls
 * of epoll_ctl(2), however many ports the map has, and the ports take turns.
 *
 * A worker does not put all listeners into an epoll of their own, because
 * EPOLLEXCLUSIVE has no effect through a nested epoll: each client would wake
 * all workers.
 *
 * A limit that is reached is logged once for a map, by the process that meets
 * it first. The end of the limit is logged when no process has met it for
 * LIMIT_END_MS and fewer connections are open.
 *
 * A listener that was shut down, as by "ss -K" in its namespace, is unwatched.
 * The server sees that, too, and replaces this mapper.
 */

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tcp/accept.h"

#include "base/addr.h"
#include "base/clock.h"
#include "base/errname.h"
#include "base/log.h"
#include "base/memory.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "mapper/scoreboard.h"

#define PAUSE_MS        100  /* after the machine has run out of a resource */
#define RELEASES_PER_MS 5    /* see accept_release() */
#define REWATCH_MAX     32   /* listeners at a time */
#define LIMIT_END_MS    2000 /* from the last client that met a limit */

int
accept_init(struct acceptor *a, const struct mapper_args *args)
{
	a->args = args;
	a->max_open = args->max_open;
	a->shared_open = args->live;
	a->limits = args->state->limits;
	a->queue =
	    memory_map(NULL, args->n_listeners, sizeof(*a->queue), MAP_PRIVATE);
	return a->queue ? 0 : -1;
}

static int
watch_listener(const struct acceptor *a, uint32_t i)
{
	struct epoll_event ev = {.events = a->events, .data.u64 = i};

	return epoll_ctl(a->epoll, EPOLL_CTL_ADD, a->args->listeners[i].fd,
	    &ev);
}

static void
unwatch_listener(const struct acceptor *a, uint32_t i)
{
	epoll_ctl(a->epoll, EPOLL_CTL_DEL, a->args->listeners[i].fd, NULL);
}

int
accept_listen(struct acceptor *a, int epoll, uint32_t flags)
{
	a->epoll = epoll;
	a->events = EPOLLIN | flags;
	for (uint32_t i = 0; i < a->args->n_listeners; i++)
		if (watch_listener(a, i) == -1)
			return -1;
	return 0;
}

/* Notes that a limit is met. Returns true if that is to be logged. */
static bool
meet_limit(const struct acceptor *a, enum limit limit)
{
	struct limit_state *s = &a->limits[limit];

	atomic_fetch_add(&s->count, 1);
	return atomic_exchange(&s->end_at, now_ms() + LIMIT_END_MS) == 0;
}

/* Returns true if the connections that are open now reach the limit. */
static bool
is_reached(const struct acceptor *a, enum limit limit)
{
	uint64_t of_map, of_all;

	scoreboard_sum(a->args->scoreboard, a->args->slot, &of_map, &of_all);
	return limit == LIMIT_MAX
	    ? of_map >= a->max_open
	    : limit == LIMIT_MAX_CONNS && of_all >= a->args->max_conns;
}

static void
log_limit_end(const struct acceptor *a, enum limit limit)
{
	const unsigned long long n =
	    atomic_exchange(&a->limits[limit].count, 0);

	if (limit != LIMIT_SOURCE)
		log_line(LOG_WARNING,
		    "'%s': below the limit again: accept paused %llu %s",
		    a->args->map->spec, n, n == 1 ? "time" : "times");
	else if (n > 1)
		log_line(LOG_WARNING,
		    "'%s': max-source= has refused %llu clients",
		    a->args->map->spec, n);
}

/*
 * Logs the end of limits that have ended; with `closing`, of all that were met.
 * Returns when to call it again, or NEVER.
 */
static msec
end_limits(const struct acceptor *a, msec now, bool closing)
{
	msec next = NEVER, end_at;

	for (enum limit i = 0; i < LIMITS; i++) {
		end_at = atomic_load(&a->limits[i].end_at);
		if (end_at && end_at <= now && !closing && is_reached(a, i)) {
			end_at = now + LIMIT_END_MS;
			atomic_store(&a->limits[i].end_at, end_at);
		}
		if (end_at > now && !closing)
			next = msec_min(next, end_at);
		else if (end_at &&
		    atomic_compare_exchange_strong(&a->limits[i].end_at,
			&end_at, 0))
			log_limit_end(a, i);
	}
	return next;
}

/*
 * Closing does not unwatch a listener, because other processes have the socket
 * open, too.
 */
void
accept_close(struct acceptor *a)
{
	for (uint32_t i = 0; i < a->args->n_listeners; i++) {
		unwatch_listener(a, i);
		close(a->args->listeners[i].fd);
	}
	a->waiting = 0;
	a->paused_until = 0;
	end_limits(a, now_ms(), true);
}

void
accept_pause(struct acceptor *a, const char *call)
{
	a->paused_until = now_ms() + PAUSE_MS;
	atomic_fetch_add(&a->args->count[COUNT_PAUSED], 1);
	log_ratelimited("'%s': %s: %s: accept paused", a->args->map->spec, call,
	    errno_name(errno));
}

/* Unwatches a listener until accepting goes on. */
static void
enqueue(struct acceptor *a, uint32_t i)
{
	unwatch_listener(a, i);
	a->queue[(a->head + a->waiting++) % a->args->n_listeners] = i;
}

/* Watches listeners of the queue again, as many as there is room for. */
static void
watch_queued(struct acceptor *a)
{
	uint32_t room = a->max_open - a->n_open;

	if (a->waiting && !room)
		a->paused_until = NEVER;
	if (room > REWATCH_MAX)
		room = REWATCH_MAX;
	for (; a->waiting && room; room--) {
		if (watch_listener(a, a->queue[a->head]) == -1) {
			accept_pause(a, "epoll_ctl");
			return;
		}
		a->head = (a->head + 1) % (uint32_t)a->args->n_listeners;
		a->waiting--;
	}
}

msec
accept_run_timers(struct acceptor *a, msec now)
{
	if (a->paused_until <= now)
		a->paused_until = 0;
	if (!a->paused_until)
		watch_queued(a);
	return msec_min(end_limits(a, now, false),
	    a->paused_until  ? a->paused_until
		: a->waiting ? now
			     : NEVER);
}

/*
 * Does not count below 0: the successor of a pool that was killed started from
 * 0, and a worker of the old pool may end a connection before that worker knows
 * of the kill.
 */
void
accept_uncount(struct acceptor *a)
{
	uint32_t n = atomic_load(a->shared_open);

	while (n && !atomic_compare_exchange_weak(a->shared_open, &n, n - 1))
		;
}

/*
 * A connection that ends makes room for another, but not at once. Otherwise the
 * chain of connections of a map that is its own target would grow at one end as
 * fast as it ends at the other. In the pause, max_open connections can end, at
 * RELEASES_PER_MS; it is PAUSE_MS at most.
 */
void
accept_release(struct acceptor *a)
{
	uint32_t pause = 1 + a->max_open / RELEASES_PER_MS;
	msec soon;

	a->n_open--;
	accept_uncount(a);
	if (!a->paused_until)
		return;
	soon = now_ms() + (pause < PAUSE_MS ? pause : PAUSE_MS);
	if (a->paused_until > soon)
		a->paused_until = soon;
}

/*
 * Counts a connection as open before it is accepted. Returns false, and pauses,
 * if that exceeds a limit. Because a mapper counts before it compares, several
 * mappers at the same time do not exceed a limit together.
 */
static bool
reserve(struct acceptor *a)
{
	uint32_t max = a->args->max_conns;
	enum limit limit = LIMIT_MAX;
	uint64_t of_map, of_all;

	atomic_fetch_add(a->shared_open, 1);
	scoreboard_sum(a->args->scoreboard, a->args->slot, &of_map, &of_all);
	if (a->n_open < a->max_open && of_map <= a->max_open &&
	    (!max || of_all <= max))
		return true;
	accept_uncount(a);
	a->paused_until = a->n_open == a->max_open || a->n_open == max
	    ? NEVER
	    : now_ms() + PAUSE_MS;
	atomic_fetch_add(&a->args->count[COUNT_PAUSED], 1);
	if (max && of_all > max) {
		limit = LIMIT_MAX_CONNS;
		of_map = of_all;
	}
	of_map -= of_map > 0;
	if (meet_limit(a, limit))
		log_line(LOG_WARNING,
		    "'%s': %llu %s, the limit of %s: new clients wait",
		    a->args->map->spec, (unsigned long long)of_map,
		    of_map == 1 ? "connection" : "connections",
		    limit == LIMIT_MAX ? "max=" : "--max-conns");
	return false;
}

void
accept_refuse(const struct acceptor *a, int client,
    const union sockaddr_inet *peer, const char *why, enum count counter)
{
	static const char refused[] = "'%s': refused %s: %s";
	const char *spec = a->args->map->spec;
	char text[SOCKADDR_STRLEN];

	sockaddr_format(&peer->sa, text);
	if (counter != COUNT_CROWDED)
		log_ratelimited(refused, spec, text, why);
	else if (meet_limit(a, LIMIT_SOURCE))
		log_line(LOG_WARNING, refused, spec, text, why);
	atomic_fetch_add(&a->args->count[counter], 1);
	close(client);
}

static bool
is_listener_error(int err)
{
	return err == EINVAL || err == EBADF || err == ENOTSOCK;
}

/* Pauses, or unwatches the listener. Ignores errors of a single connection. */
static void
accept_failed(struct acceptor *a, uint32_t i, uint32_t events)
{
	if (errno_is_shortage(errno))
		accept_pause(a, "accept");
	else if (is_listener_error(errno) ||
	    (errno == EAGAIN && events & EPOLLHUP))
		unwatch_listener(a, i);
	accept_uncount(a);
}

/*
 * Makes the system call itself, because accept4() of musl calls accept(2) after
 * EINVAL, which the seccomp filter does not allow.
 */
static int
accept_client(int listener, struct sockaddr_storage *addr)
{
	socklen_t length = sizeof(*addr);

	return (int)syscall(SYS_accept4, listener, addr, &length,
	    SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void
accept_one(struct acceptor *a, uint32_t i, uint32_t events)
{
	const struct listener *listener = &a->args->listeners[i];
	struct sockaddr_storage addr = {0};
	union sockaddr_inet peer;
	int client = accept_client(listener->fd, &addr);

	if (client == -1) {
		accept_failed(a, i, events);
		return;
	}
	peer = unmap_v4(&addr);
	if (map_allows_client(a->args->map, &peer)) {
		a->n_open++;
		a->start(a->context, client, listener->port_index, &peer);
		return;
	}
	accept_refuse(a, client, &peer, "it is not allowed", COUNT_DENIED);
	accept_uncount(a);
}

/* SO_ERROR is read because epoll reports an error until it is. */
void
accept_event(struct acceptor *a, uint32_t i, uint32_t events)
{
	socklen_t length = sizeof(errno);

	if (events & EPOLLERR)
		getsockopt(a->args->listeners[i].fd, SOL_SOCKET, SO_ERROR,
		    &errno, &length);
	if (a->paused_until || !reserve(a))
		enqueue(a, i);
	else
		accept_one(a, i, events);
}
