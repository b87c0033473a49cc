/* Runs many connections in one event loop: dials and relays them. */

/*
 * Theory of operation
 *
 * A connection is in one phase at a time. Each phase has a list of its
 * connections. A connection moves to the end of the list when it enters the
 * phase or has an event. The time limit is the same for all connections of a
 * phase, so that the head of the list is the first to time out. The exception
 * is PH_CONNECTING: its connections have different deadlines, in a heap
 * (timers.c).
 *
 * dial/dialer.c decides which target and address comes next; dial/dial.c is
 * its other driver, which blocks. This file starts each attempt, and reports
 * the result to the dialer when there is an event or the deadline has passed.
 * Host names and hops are not for workers, because both would block.
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
#include "base/report.h"
#include "base/sock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/conn.h"
#include "dial/dialer.h"
#include "relay.h"
#include "tcp/memory.h"
#include "tcp/table.h"
#include "tcp/tcp.h"
#include "tcp/timers.h"

enum phase {
	PH_FREE,
	PH_CONNECTING,  /* until the deadline of the address */
	PH_RETRYING,    /* until the same address is tried again */
	PH_ESTABLISHED, /* until the idle timeout */
	PH_HALF_CLOSED, /* until the half-close timeout */
	PH_DRAINING,    /* until the next look at acknowledged bytes */
	PH_RUNNABLE,    /* until the next turn of the loop */
	PHASES
};

struct worker_conn {
	struct relay relay;
	struct conn conn;
	struct dialer dialer;
	uint32_t older, newer; /* in the list of the phase */
	uint8_t phase;
	msec phase_since; /* when the connection came to the end of its list */
};

static struct worker {
	struct tcp *tcp;
	int lifeline;
	const struct map *map;
	struct worker_conn *conns; /* after the last, the heads of the lists */
	unsigned char *spills; /* two for each connection, see relay_init() */
	uint32_t capacity;
	msec timeouts[PHASES]; /* 0: none */
	bool all_tcp;          /* no target is a UNIX socket */
	struct timers timers;  /* deadlines of the connections that connect */
} worker;

static void
phase_leave(struct worker_conn *c)
{
	if (!c->phase)
		return;
	worker.conns[c->older].newer = c->newer;
	worker.conns[c->newer].older = c->older;
	if (c->phase == PH_CONNECTING)
		timers_clear(&worker.timers, (uint32_t)(c - worker.conns));
	c->phase = PH_FREE;
}

/* Moves a connection to the end of the list of a phase. */
static void
phase_enter(uint32_t i, enum phase phase)
{
	uint32_t head = worker.capacity + phase;
	struct worker_conn *c = &worker.conns[i];

	phase_leave(c);
	c->phase = (uint8_t)phase;
	c->phase_since = worker.timeouts[phase] ? now_ms() : 0;
	c->newer = head;
	c->older = worker.conns[head].older;
	worker.conns[c->older].newer = i;
	worker.conns[head].older = i;
}

/* Returns the first connection of a list, or `capacity` or more if none. */
static uint32_t
phase_oldest(enum phase phase)
{
	return worker.conns[worker.capacity + phase].newer;
}

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

/* Closes a connection. The report already has its end. */
static void
conn_close(uint32_t i)
{
	struct worker_conn *c = &worker.conns[i];

	close(c->relay.dirs[RELAY_CLIENT].in);
	close_target_fd(c);
	phase_leave(c);
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
		phase_enter(i, relay_phase(r));
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
		run_relay(i);
		return true;
	case ATTEMPT_WAIT:
		phase_enter(i, PH_CONNECTING);
		timers_set(&worker.timers, i, c->dialer.addr_deadline);
		return true;
	case ATTEMPT_RETRY:
		close_target_fd(c);
		phase_enter(i, PH_RETRYING);
		return true;
	case ATTEMPT_FAILED:
		dialer_addr_failed(&c->dialer, to);
		close_target_fd(c);
	}
	return false;
}

/* Ends the connection if the client has reset it; returns true then. */
static bool
end_if_client_reset(uint32_t i)
{
	if (!client_was_reset(worker.conns[i].conn.client))
		return false;
	conn_fail(i, END_CLIENT, errno);
	return true;
}

/* Tries one address after the other, until an attempt does not fail at once. */
static void
dial_next_address(uint32_t i)
{
	struct worker_conn *c = &worker.conns[i];
	struct target_addr to;

	do {
		if (end_if_client_reset(i))
			return;
		if (dialer_next(&c->dialer, &to) == -1) {
			conn_fail(i, END_DIAL, errno);
			return;
		}
	} while (!attempt_done(i, &to, start_attempt(i, &to)));
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
conn_event(uint64_t data, uint32_t events)
{
	uint32_t i = (uint32_t)(data / 2);
	struct worker_conn *c = &worker.conns[i];
	int peer = (int)(data % 2);

	if (c->phase == PH_FREE)
		return;
	if (c->phase > PH_RETRYING) {
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
timed_out(uint32_t i)
{
	switch (worker.conns[i].phase) {
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
	uint32_t last = worker.conns[worker.capacity + PH_RUNNABLE].older;
	uint32_t i = UINT32_MAX;

	while (phase_oldest(PH_RUNNABLE) < worker.capacity && i != last) {
		i = phase_oldest(PH_RUNNABLE);
		run_relay(i);
	}
}

/* Returns when the first connection of a phase times out, or NEVER. */
static msec
phase_deadline(enum phase phase)
{
	uint32_t i = phase_oldest(phase);

	return i < worker.capacity && worker.timeouts[phase]
	    ? worker.conns[i].phase_since + worker.timeouts[phase]
	    : NEVER;
}

/* Returns when the first of all connections times out, or NEVER. */
static msec
next_deadline(void)
{
	uint32_t i;
	msec next = timers_earliest(&worker.timers, &i);

	for (int phase = PH_RETRYING; phase < PH_RUNNABLE; phase++)
		if (phase_deadline(phase) < next)
			next = phase_deadline(phase);
	return next;
}

/*
 * The deadlines are compared last, because a connection that times out in one
 * phase can get a deadline in another.
 */
static msec
run_conn_timers(msec now)
{
	uint32_t i;

	run_runnable();
	while (timers_earliest(&worker.timers, &i) <= now)
		timed_out(i);
	for (int phase = PH_RETRYING; phase < PH_RUNNABLE; phase++)
		while (phase_deadline(phase) <= now)
			timed_out(phase_oldest(phase));
	return phase_oldest(PH_RUNNABLE) < worker.capacity ? now
							   : next_deadline();
}

static void
start_in_loop(uint32_t i, struct conn *conn)
{
	struct worker_conn *c = &worker.conns[i];
	bool is_unix = conn->peer.sa.sa_family == AF_UNIX;

	*c = (struct worker_conn){.conn = *conn};
	dialer_init(&c->dialer, &c->conn, NULL);
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
	struct relay half_closed = {.dirs[0].done = true};

	worker.map = map;
	worker.capacity = capacity;
	worker.all_tcp = no_unix_target(map);
	worker.timeouts[PH_RETRYING] = ATTEMPT_RETRY_MS;
	worker.timeouts[PH_ESTABLISHED] = map->times.idle;
	worker.timeouts[PH_HALF_CLOSED] =
	    relay_timeout(&half_closed, &map->times);
	worker.timeouts[PH_DRAINING] = IO_POLL_ACKED_MS;
	worker.conns = memory_map(NULL, (size_t)capacity + PHASES,
	    sizeof(*worker.conns), MAP_PRIVATE | MAP_NORESERVE);
	worker.spills = memory_map(NULL, capacity, (size_t)2 * RELAY_COPY,
	    MAP_PRIVATE | MAP_NORESERVE);
	if (!worker.conns || !worker.spills)
		return -1;
	return timers_init(&worker.timers, capacity);
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
	for (uint32_t head = worker.capacity; head < worker.capacity + PHASES;
	     head++)
		worker.conns[head].older = worker.conns[head].newer = head;
	if (tcp_listen(t, &ops, lifeline, EPOLLEXCLUSIVE) == -1)
		_exit(1);
	tcp_run(t);
}
