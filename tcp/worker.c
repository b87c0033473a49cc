/* Runs many connections in one event loop: dials and relays them. */

/*
 * Theory of operation
 *
 * dial/dialer.c decides which target and address comes next; dial/dial.c is
 * its other driver, which blocks. This file starts each attempt, and reports
 * the result to the dialer when there is an event or the deadline has passed.
 * Hops are not for workers, because they would block.
 *
 * A connection whose host name is not known yet waits in PH_RESOLVING. All
 * connections there look up their names again when lookup_run() returns true.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tcp/worker.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/memory.h"
#include "base/report.h"
#include "base/sock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/conn.h"
#include "dial/dialer.h"
#include "dial/resolve.h"
#include "relay.h"
#include "tcp/lookup.h"
#include "tcp/original.h"
#include "tcp/phases.h"
#include "tcp/table.h"
#include "tcp/tcp.h"

#define NAMES_DATA (UINT64_MAX / 2) /* of events of names */

struct worker_conn {
	struct relay relay;
	struct conn conn;
	struct dialer dialer;
	struct endpoint original; /* conn.requested of a redirected one */
};

static struct worker {
	struct tcp *tcp;
	int lifeline;
	const struct map *map;
	struct worker_conn *conns;
	unsigned char *spills; /* two for each connection, see relay_init() */
	bool all_tcp;          /* no target is a UNIX socket */
	struct phases phases;
	struct lookup lookup;
} worker;

static uint64_t
event_data(uint32_t i, enum relay_peer peer)
{
	return TCP_EV_CONN + i * UINT64_C(2) + peer;
}

static struct conn_report *
report_of(uint32_t i)
{
	return &worker.tcp->table->reports[i];
}

static int *
target_fd(struct worker_conn *c)
{
	return &c->relay.dirs[RELAY_TARGET].in;
}

static void
close_target_fd(struct worker_conn *c)
{
	if (*target_fd(c) != -1)
		close(*target_fd(c));
	*target_fd(c) = -1;
}

/* Releases what is needed for dialing only. */
static void
end_dial(struct worker_conn *c)
{
	lookup_release_room(&worker.lookup, c->dialer.resolved);
	c->dialer.resolved = NULL;
}

/* Closes a connection. The report already has its end. */
static void
conn_close(uint32_t i)
{
	struct worker_conn *c = &worker.conns[i];

	close(c->relay.dirs[RELAY_CLIENT].in);
	close_target_fd(c);
	end_dial(c);
	phase_leave(&worker.phases, i);
	tcp_conn_ended(worker.tcp, i, 0);
}

static void
conn_fail(uint32_t i, enum end_reason end, int error)
{
	report_of(i)->end = (int32_t)end;
	report_of(i)->error = error;
	conn_close(i);
}

static void
relay_ended(uint32_t i, int result)
{
	relay_finish(&worker.conns[i].relay, result, report_of(i));
	conn_close(i);
}

static enum phase
relay_phase(const struct relay *r)
{
	if (r->runnable)
		return PH_RUNNABLE;
	if (r->draining)
		return PH_DRAINING;
	return r->dirs[RELAY_CLIENT].done || r->dirs[RELAY_TARGET].done
	    ? PH_HALF_CLOSED
	    : PH_ESTABLISHED;
}

static void
run_relay(uint32_t i)
{
	struct relay *r = &worker.conns[i].relay;
	int result = relay_step(r);

	if (result)
		relay_ended(i, result);
	else
		phase_enter(&worker.phases, i, relay_phase(r));
}

/* Opens a socket, sets it as the target's, and starts to connect it. */
static enum attempt
start_attempt(uint32_t i, const struct target_addr *to)
{
	struct worker_conn *c = &worker.conns[i];
	int fd = attempt_open(worker.map, to->addr.ss_family);

	*target_fd(c) = c->relay.dirs[RELAY_CLIENT].out = fd;
	if (fd == -1 ||
	    relay_register(worker.tcp->epoll, fd,
		event_data(i, RELAY_TARGET)) == -1)
		return ATTEMPT_FAILED;
	return attempt_connect(fd, to);
}

/* The failed address is not the end of a name that has newer addresses. */
static void
attempt_failed(struct worker_conn *c, const struct target_addr *to)
{
	if (!lookup_addr_failed(&worker.lookup, &c->dialer))
		dialer_addr_failed(&c->dialer, to);
	close_target_fd(c);
}

/*
 * Handles the result of an attempt; errno says why it failed. Returns false if
 * another address is to be tried.
 */
static bool
attempt_done(uint32_t i, const struct target_addr *to, enum attempt result)
{
	struct worker_conn *c = &worker.conns[i];

	if (result == ATTEMPT_RETRY && now_ms() >= c->dialer.addr_deadline) {
		errno = ETIMEDOUT;
		result = ATTEMPT_FAILED;
	}
	switch (result) {
	case ATTEMPT_DONE:
	case ATTEMPT_RESET:
		if (result == ATTEMPT_RESET)
			relay_target_failed(&c->relay, errno);
		dialer_connected(&c->dialer, to);
		dialer_succeeded(&c->dialer);
		end_dial(c);
		run_relay(i);
		return true;
	case ATTEMPT_WAIT:
		phase_enter_until(&worker.phases, i, PH_CONNECTING,
		    c->dialer.addr_deadline);
		return true;
	case ATTEMPT_RETRY:
		close_target_fd(c);
		phase_enter(&worker.phases, i, PH_RETRYING);
		return true;
	case ATTEMPT_FAILED:
		attempt_failed(c, to);
	}
	return false;
}

/* Returns true, and ends the connection, if the client has reset it. */
static bool
end_if_client_reset(uint32_t i)
{
	if (!client_was_reset(worker.conns[i].conn.client))
		return false;
	conn_fail(i, END_CLIENT, errno);
	return true;
}

/*
 * Moves on to the next address. Returns false if there is none now: the
 * connection has failed, or its name is pending.
 */
static bool
next_address(uint32_t i, struct target_addr *to)
{
	struct dialer *d = &worker.conns[i].dialer;
	enum dialer_step step;

	while ((step = dialer_next(d, to)) == DIALER_NAME)
		if (!lookup_name(&worker.lookup, d)) {
			phase_enter_until(&worker.phases, i, PH_RESOLVING,
			    d->target_deadline);
			return false;
		}
	if (step == DIALER_FAILED)
		conn_fail(i, END_DIAL, errno);
	return step == DIALER_ADDR;
}

/* Tries one address after the other, until an attempt does not fail at once. */
static void
dial_next_address(uint32_t i)
{
	struct target_addr to;

	do {
		if (end_if_client_reset(i) || !next_address(i, &to))
			return;
	} while (!attempt_done(i, &to, start_attempt(i, &to)));
}

/* Continues the connections whose names have become known. */
static void
run_names(void)
{
	const struct phases *p = &worker.phases;
	uint32_t i, next;

	if (!lookup_run(&worker.lookup))
		return;
	for (i = phase_oldest(p, PH_RESOLVING); i < p->capacity; i = next) {
		next = phase_next(p, i);
		if (lookup_name(&worker.lookup, &worker.conns[i].dialer))
			dial_next_address(i);
	}
}

/* Tries the same address again. */
static void
dial_same_address(uint32_t i)
{
	struct worker_conn *c = &worker.conns[i];
	struct target_addr to;

	if (end_if_client_reset(i))
		return;
	if (dialer_current(&c->dialer, &to) == -1 ||
	    !attempt_done(i, &to, start_attempt(i, &to)))
		dial_next_address(i);
}

/* Handles the events of a socket that connects; 0: the deadline has passed. */
static void
connect_event(uint32_t i, uint32_t events)
{
	struct worker_conn *c = &worker.conns[i];
	enum attempt result = ATTEMPT_FAILED;
	struct target_addr to;

	if (dialer_current(&c->dialer, &to) == 0) {
		errno = ETIMEDOUT;
		if (events)
			result = attempt_result(*target_fd(c), &to);
	}
	if (result == ATTEMPT_DONE || result == ATTEMPT_RESET)
		relay_event(&c->relay, RELAY_TARGET, events);
	if (!attempt_done(i, &to, result))
		dial_next_address(i);
}

/* Handles an event. The connection may have ended earlier in the same turn. */
static void
peer_event(uint32_t i, int peer, uint32_t events)
{
	struct worker_conn *c = &worker.conns[i];
	enum phase phase = phase_of(&worker.phases, i);

	if (phase == PH_FREE)
		return;
	if (phase > PH_RETRYING) {
		relay_event(&c->relay, peer, events);
		run_relay(i);
	} else if (peer == RELAY_TARGET) {
		connect_event(i, events);
	} else if (events & EPOLLERR) {
		conn_fail(i, END_CLIENT, ECONNABORTED);
	} else {
		relay_event(&c->relay, peer, events);
	}
}

static void
conn_event(uint64_t data, uint32_t events)
{
	if (data == NAMES_DATA)
		run_names();
	else
		peer_event((uint32_t)(data / 2), (int)(data % 2), events);
}

static void
timed_out(uint32_t i)
{
	switch (phase_of(&worker.phases, i)) {
	case PH_RESOLVING:
		lookup_expire(&worker.lookup, &worker.conns[i].dialer);
		dial_next_address(i);
		break;
	case PH_CONNECTING:
		connect_event(i, 0);
		break;
	case PH_RETRYING:
		dial_same_address(i);
		break;
	case PH_DRAINING:
		run_relay(i);
		break;
	default:
		relay_ended(i, 0);
	}
}

/* Runs each connection that is runnable once. */
static void
run_runnable(void)
{
	const struct phases *p = &worker.phases;
	uint32_t last = phase_newest(p, PH_RUNNABLE), i = UINT32_MAX;

	while (i != last && (i = phase_oldest(p, PH_RUNNABLE)) < p->capacity)
		run_relay(i);
}

static bool
is_any_runnable(void)
{
	return phase_oldest(&worker.phases, PH_RUNNABLE) <
	    worker.phases.capacity;
}

static msec
run_conn_timers(msec now)
{
	uint32_t i;
	msec next;

	run_runnable();
	if (worker.lookup.run_at <= now)
		run_names();
	while ((next = phases_earliest(&worker.phases, &i)) <= now)
		timed_out(i);
	return is_any_runnable() ? now : msec_min(next, worker.lookup.run_at);
}

static void
start_in_loop(uint32_t i, struct conn *conn)
{
	struct worker_conn *c = &worker.conns[i];
	bool is_unix = conn->peer.sa.sa_family == AF_UNIX;

	*c = (struct worker_conn){.conn = *conn};
	if (map_is_original(worker.map)) {
		original_endpoint(&c->original, conn);
		c->conn.requested = &c->original;
	}
	dialer_init(&c->dialer, &c->conn, lookup_take_room(&worker.lookup));
	if (is_unix)
		sock_set_oobinline(conn->client);
	relay_init(&c->relay, conn->client, -1, !is_unix && worker.all_tcp,
	    worker.spills + (size_t)i * 2 * RELAY_COPY, report_of(i));
	if (relay_register(worker.tcp->epoll, conn->client,
		event_data(i, RELAY_CLIENT)) == -1)
		conn_fail(i, END_LOCAL, errno);
	else
		dial_next_address(i);
}

/* Drains, because the lifeline has ended: the pool drains, or was killed. */
static void
lifeline_event(void)
{
	epoll_ctl(worker.tcp->epoll, EPOLL_CTL_DEL, worker.lifeline, NULL);
	if (!worker.tcp->tables->shared->pool_draining)
		tcp_detach_counts(worker.tcp);
	tcp_drain(worker.tcp);
}

static bool
no_unix_target(const struct map *map)
{
	for (size_t i = 0; i < map->n_targets; i++)
		if (map->targets[i].kind == EP_UNIX_PATH ||
		    map->targets[i].kind == EP_UNIX_ABSTRACT)
			return false;
	return true;
}

int
worker_alloc(const struct map *map, uint32_t capacity)
{
	struct relay half_closed = {.dirs = {{.done = true}}};
	msec *timeouts = worker.phases.timeouts;

	worker.map = map;
	worker.all_tcp = no_unix_target(map);
	timeouts[PH_RETRYING] = ATTEMPT_RETRY_MS;
	timeouts[PH_ESTABLISHED] = map->times.idle;
	timeouts[PH_HALF_CLOSED] = relay_timeout(&half_closed, &map->times);
	timeouts[PH_DRAINING] = IO_POLL_ACKED_MS;
	worker.conns = memory_map(NULL, capacity, sizeof(*worker.conns),
	    MAP_PRIVATE | MAP_NORESERVE);
	worker.spills = memory_map(NULL, capacity, (size_t)2 * RELAY_COPY,
	    MAP_PRIVATE | MAP_NORESERVE);
	if (!worker.conns || !worker.spills ||
	    lookup_alloc(&worker.lookup, map, capacity) == -1)
		return -1;
	return phases_init(&worker.phases, capacity);
}

/* Returns -1 with errno. */
static int
watch_names(void)
{
	int fd;

	if (!worker.lookup.resolver)
		return 0;
	fd = lookup_open(&worker.lookup);
	return fd == -1 ? -1
			: tcp_watch(worker.tcp, fd, TCP_EV_CONN + NAMES_DATA);
}

_Noreturn void
worker_main(struct tcp *t, uint32_t number, int lifeline)
{
	static const struct tcp_ops ops = {
	    .start = start_in_loop,
	    .channel_event = lifeline_event,
	    .conn_event = conn_event,
	    .run_timers = run_conn_timers,
	};

	worker.tcp = t;
	worker.lifeline = lifeline;
	t->table = &t->tables->items[number];
	if (tcp_listen(t, &ops, lifeline, EPOLLEXCLUSIVE) == -1 ||
	    watch_names() == -1)
		_exit(1);
	tcp_run(t);
}
