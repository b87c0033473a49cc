/* Accepts the clients of a map's listeners, as far as its limits allow. */

/*
 * Theory of operation
 *
 * Each listener is watched by itself, level-triggered. While accepting is
 * paused, because a limit is reached or the machine ran out of something, a
 * listener that reports a client is unwatched and goes to the end of a queue;
 * a listener that reports nothing is left alone. When accepting goes on,
 * listeners are watched again from the head of the queue, as many as there is
 * room for. So a connection at the limit costs two calls of epoll_ctl(2),
 * however many ports the map has, and the ports take turns.
 *
 * An epoll of all listeners inside that of a worker would be one call, but
 * EPOLLEXCLUSIVE does not work through it: each client would wake each worker.
 *
 * A listener that is shut down, as by "ss -K" in its namespace, is unwatched
 * for good. The server sees the same on its own descriptor, opens the listener
 * anew and starts a new mapper.
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

#include "base/addr.h"
#include "base/clock.h"
#include "base/errname.h"
#include "base/log.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "tcp/accept.h"

#define PAUSE_MS 100 /* after the machine ran out of something */
#define FALL     5   /* connections of a chain that end in a millisecond */
#define AT_ONCE  32  /* listeners that are watched again in one turn */

int
accept_init(struct acceptor *a, const struct mapper_args *args, uint32_t slots)
{
	size_t size = args->n_listeners * sizeof(*a->queue);

	a->args = args;
	a->max_open = slots;
	a->shared_open = &args->scoreboard->live[args->slot];
	a->queue = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (a->queue == MAP_FAILED)
		return -1;
	/* Workers inherit it, untouched; connections have no use for it. */
	return args->map->workers ? 0 : madvise(a->queue, size, MADV_DONTFORK);
}

static int
watch(const struct acceptor *a, uint32_t i)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = i};

	if (a->exclusive)
		ev.events |= EPOLLEXCLUSIVE;
	return epoll_ctl(a->epoll, EPOLL_CTL_ADD, a->args->listeners[i].fd,
	    &ev);
}

static void
unwatch(const struct acceptor *a, uint32_t i)
{
	epoll_ctl(a->epoll, EPOLL_CTL_DEL, a->args->listeners[i].fd, NULL);
}

int
accept_listen(struct acceptor *a, int epoll, bool exclusive)
{
	a->epoll = epoll;
	a->exclusive = exclusive;
	for (uint32_t i = 0; i < a->args->n_listeners; i++)
		if (watch(a, i) == -1)
			return -1;
	return 0;
}

/* A closed listener would stay in the epoll as long as any process has it. */
void
accept_close(struct acceptor *a)
{
	for (uint32_t i = 0; i < a->args->n_listeners; i++) {
		unwatch(a, i);
		close(a->args->listeners[i].fd);
	}
	a->waiting = 0;
	a->paused_until = 0;
}

void
accept_pause(struct acceptor *a, const char *what)
{
	a->paused_until = now_ms() + PAUSE_MS;
	log_ratelimited("'%s': %s: %s: accepting rests", a->args->map->spec,
	    what, errno_name(errno));
}

/* Queues a listener until accepting goes on. */
static void
enqueue(struct acceptor *a, uint32_t i)
{
	unwatch(a, i);
	a->queue[(a->head + a->waiting++) % a->args->n_listeners] = i;
}

static void
accept_queued(struct acceptor *a)
{
	uint32_t capacity = a->max_open - a->n_open;

	if (a->waiting && !capacity)
		a->paused_until = NEVER;
	if (capacity > AT_ONCE)
		capacity = AT_ONCE;
	for (; a->waiting && capacity; capacity--) {
		if (watch(a, a->queue[a->head]) == -1) {
			accept_pause(a, "epoll_ctl");
			return;
		}
		a->head = (a->head + 1) % (uint32_t)a->args->n_listeners;
		a->waiting--;
	}
}

msec
accept_run_timers(struct acceptor *a, msec at)
{
	if (a->paused_until <= at)
		a->paused_until = 0;
	if (!a->paused_until)
		accept_queued(a);
	return a->paused_until ? a->paused_until : a->waiting ? at : NEVER;
}

/* Never below none, which a successor of a dead crew began with. */
void
accept_uncount(struct acceptor *a)
{
	uint32_t n = atomic_load(a->shared_open);

	while (n && !atomic_compare_exchange_weak(a->shared_open, &n, n - 1))
		;
}

/*
 * A connection that ends makes room for the next. Not at once: of a map that is
 * its own target the chain would grow behind as fast as it falls apart in front.
 */
void
accept_release(struct acceptor *a)
{
	uint32_t span = 1 + a->max_open / FALL;
	msec soon;

	a->n_open--;
	accept_uncount(a);
	if (!a->paused_until)
		return;
	soon = now_ms() + (span < PAUSE_MS ? span : PAUSE_MS);
	if (a->paused_until > soon)
		a->paused_until = soon;
}

/* Sums of the connections that are open: of the map, and of all maps. */
static void
count_open(const struct acceptor *a, uint64_t *of_map, uint64_t *of_all)
{
	const struct scoreboard *scoreboard = a->args->scoreboard;
	uint32_t service = scoreboard->service[a->args->slot];
	uint32_t used = scoreboard->used;

	*of_map = *of_all = 0;
	for (uint32_t i = 0; i < used && i < MAPPERS_MAX; i++) {
		uint32_t live = scoreboard->live[i];

		*of_all += live;
		if (scoreboard->service[i] == service)
			*of_map += live;
	}
}

/*
 * Reserves a place under the limits. Counting oneself first makes the limits
 * over all mappers hold although they do not ask each other.
 */
static bool
reserve(struct acceptor *a)
{
	uint32_t max = a->args->max_conns;
	uint64_t of_map, of_all;

	atomic_fetch_add(a->shared_open, 1);
	count_open(a, &of_map, &of_all);
	if (a->n_open < a->max_open && of_map <= a->max_open &&
	    (!max || of_all <= max))
		return true;
	accept_uncount(a);
	a->paused_until = a->n_open == a->max_open || a->n_open == max
	    ? NEVER
	    : now_ms() + PAUSE_MS;
	log_ratelimited("'%s': %llu connections, the limit: new clients wait",
	    a->args->map->spec, (unsigned long long)(of_map ? of_map - 1 : 0));
	return false;
}

void
accept_refuse(const struct acceptor *a, int client,
    const union sockaddr_inet *peer, const char *why)
{
	char text[SOCKADDR_STRLEN];

	log_ratelimited("'%s': refused %s: %s", a->args->map->spec,
	    sockaddr_format(&peer->sa, text), why);
	atomic_fetch_add(&a->args->count[COUNT_REFUSED], 1);
	close(client);
}

/* The machine ran out of something, accept(2). */
static bool
exhausted(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS ||
	    err == ENOMEM;
}

/* The listener is none any more. */
static bool
listener_gone(int err)
{
	return err == EINVAL || err == EBADF || err == ENOTSOCK;
}

/* All other errors are of the one connection that was to be accepted. */
static void
accept_failed(struct acceptor *a, uint32_t i, uint32_t events)
{
	if (exhausted(errno))
		accept_pause(a, "accept");
	else if (listener_gone(errno) || (errno == EAGAIN && events & EPOLLHUP))
		unwatch(a, i);
	accept_uncount(a);
}

/*
 * As a system call: where the kernel says EINVAL, the function of musl goes on
 * to accept(2), which the filter does not know.
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
		a->start(client, listener->port_index, &peer);
		return;
	}
	accept_refuse(a, client, &peer, "it is not allowed");
	accept_uncount(a);
}

/* An error that stays would be reported for ever: it is read. */
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
