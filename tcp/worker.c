/* The event loop of a worker: dials and relays many connections. */

/*
 * Theory of operation
 *
 * A connection is in one phase at a time, and each phase is a list in the order
 * of arrival. Since all of a list may stay there for the same time, the head of
 * each is the next to be late, whatever their number. An event moves its
 * connection to the end of a list: time counts from the last one. Only those
 * that dial differ in their times: for them there is a heap, see timers.c.
 *
 * Which target and address is dialled is the decision of dialer.c: the driver
 * here starts an attempt and comes back when it is decided, or late.
 */

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

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
#include "tcp/timers.h"
#include "tcp/worker.h"

enum phase {
	PH_FREE,
	PH_CONNECTING,  /* until the address has had its share of the time */
	PH_RETRYING,    /* before the same address is tried again */
	PH_ESTABLISHED, /* for as long as a connection may be idle */
	HALF_CLOSED,    /* one direction has ended */
	DRAINING,       /* it failed; until one looks what is left to deliver */
	PH_RUNNABLE, /* for one turn of the loop: it has not finished its own */
	PHASES
};

struct worker_conn {
	struct relay pair;
	struct conn conn;
	struct dialer dialer;
	uint32_t older, newer; /* in the list of its phase */
	uint8_t phase;
	msec phase_since; /* it is in this phase, or was heard of last */
};

static struct worker {
	const struct map *map;
	struct worker_conn
	    *conns; /* behind the last one the heads of the lists */
	unsigned char *spill_buffers; /* of each, what relay_init() wants */
	uint32_t capacity;
	msec timeouts[PHASES]; /* 0: for ever */
	bool all_tcp;          /* no target is a UNIX socket */
	int epoll;
	uint64_t ev_base;
	struct timers timers; /* of those that dial */
	struct conn_report *reports;
	void (*on_closed)(uint32_t, int);
} worker;

static void
list_remove(struct worker_conn *c)
{
	if (!c->phase)
		return;
	worker.conns[c->older].newer = c->newer;
	worker.conns[c->newer].older = c->older;
	if (c->phase == PH_CONNECTING)
		timers_clear(&worker.timers, (uint32_t)(c - worker.conns));
	c->phase = PH_FREE;
}

/* Becomes the newest of that phase. */
static void
list_append(uint32_t i, enum phase phase)
{
	uint32_t head = worker.capacity + phase;
	struct worker_conn *c = &worker.conns[i];

	list_remove(c);
	c->phase = (uint8_t)phase;
	c->phase_since = worker.timeouts[phase] ? now_ms() : 0;
	c->newer = head;
	c->older = worker.conns[head].older;
	worker.conns[c->older].newer = i;
	worker.conns[head].older = i;
}

static uint32_t
list_head(enum phase phase)
{
	return worker.conns[worker.capacity + phase].newer;
}

static uint64_t
event_of(uint32_t i, enum relay_peer peer)
{
	return worker.ev_base + i * UINT64_C(2) + peer;
}

static int *
server_of(struct worker_conn *c)
{
	return &c->pair.dirs[RELAY_TARGET].in;
}

static void
close_server(struct worker_conn *c)
{
	if (*server_of(c) != -1)
		close(*server_of(c));
	*server_of(c) = -1;
}

/* The tally says already how it ended. */
static void
conn_close(uint32_t i)
{
	struct worker_conn *c = &worker.conns[i];

	close(c->pair.dirs[RELAY_CLIENT].in);
	close_server(c);
	list_remove(c);
	worker.on_closed(i, 0);
}

static void
fail(uint32_t i, enum end_reason end, int error)
{
	worker.reports[i].end = (int32_t)end;
	worker.reports[i].error = error;
	conn_close(i);
}

static void
run_relay(uint32_t i)
{
	struct worker_conn *c = &worker.conns[i];
	int ended = relay_step(&c->pair);

	if (ended) {
		relay_finish(&c->pair, ended, &worker.reports[i]);
		conn_close(i);
	} else {
		list_append(i,
		    c->pair.runnable     ? PH_RUNNABLE
			: c->pair.drains ? DRAINING
			: c->pair.dirs[RELAY_CLIENT].done ||
			    c->pair.dirs[RELAY_TARGET].done
			? HALF_CLOSED
			: PH_ESTABLISHED);
	}
}

/* Starts to connect to an address. The socket is in its place in any case. */
static enum attempt
start_attempt(uint32_t i, const struct target_addr *to)
{
	struct worker_conn *c = &worker.conns[i];
	int fd = attempt_open(worker.map, to->addr.ss_family);

	*server_of(c) = c->pair.dirs[RELAY_CLIENT].out = fd;
	if (fd == -1 ||
	    relay_register(worker.epoll, fd, event_of(i, RELAY_TARGET)) == -1)
		return ATTEMPT_FAILED;
	return attempt_connect(fd, to);
}

/* True if the connection has a socket, and is to wait, or has ended. */
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
		dialer_connected(&c->dialer, to);
		run_relay(i);
		return true;
	case ATTEMPT_WAIT:
		list_append(i, PH_CONNECTING);
		timers_set(&worker.timers, i, c->dialer.addr_deadline);
		return true;
	case ATTEMPT_RETRY:
		close_server(c);
		list_append(i, PH_RETRYING);
		return true;
	case ATTEMPT_FAILED:
		dialer_addr_failed(&c->dialer, to);
		close_server(c);
	}
	return false;
}

/* True if the client has gone, which ends its connection. */
static bool
client_gone(uint32_t i)
{
	if (!client_was_reset(worker.conns[i].conn.client))
		return false;
	fail(i, END_CLIENT, errno);
	return true;
}

/* Dials one address after the other until one is connected, or under way. */
static void
dial_next_address(uint32_t i)
{
	struct worker_conn *c = &worker.conns[i];
	struct target_addr to;

	do {
		if (client_gone(i))
			return;
		if (dialer_next(&c->dialer, &to) == -1) {
			fail(i, END_DIAL, errno);
			return;
		}
	} while (!attempt_done(i, &to, start_attempt(i, &to)));
}

static void
dial_same_address(uint32_t i)
{
	struct worker_conn *c = &worker.conns[i];
	struct target_addr to;

	if (client_gone(i))
		return;
	if (dialer_current(&c->dialer, &to) == -1 ||
	    !attempt_done(i, &to, start_attempt(i, &to)))
		dial_next_address(i);
}

/* What connect(2) came to: by an event, or, without any, too late. */
static void
connect_done(uint32_t i, uint32_t events)
{
	struct worker_conn *c = &worker.conns[i];
	enum attempt result = ATTEMPT_FAILED;
	struct target_addr to;

	if (dialer_current(&c->dialer, &to) == 0) {
		errno = ETIMEDOUT;
		if (events)
			result = attempt_result(*server_of(c), &to);
	}
	if (result == ATTEMPT_DONE)
		relay_event(&c->pair, RELAY_TARGET, events);
	if (!attempt_done(i, &to, result))
		dial_next_address(i);
}

/* An event may be older than its connection's end, in the same turn. */
void
worker_event(uint64_t data, uint32_t events)
{
	uint32_t i = (uint32_t)(data / 2);
	struct worker_conn *c = &worker.conns[i];
	int peer = (int)(data % 2);

	if (c->phase == PH_FREE)
		return;
	if (c->phase > PH_RETRYING) {
		relay_event(&c->pair, peer, events);
		run_relay(i);
	} else if (peer == RELAY_TARGET) {
		connect_done(i, events);
	} else if (events & EPOLLERR) {
		fail(i, END_CLIENT, ECONNABORTED);
	} else {
		relay_event(&c->pair, peer, events);
	}
}

static void
timed_out(uint32_t i)
{
	struct worker_conn *c = &worker.conns[i];

	switch (c->phase) {
	case PH_CONNECTING:
		connect_done(i, 0);
		break;
	case PH_RETRYING:
		dial_same_address(i);
		break;
	case DRAINING:
		run_relay(i);
		break;
	default:
		relay_finish(&c->pair, 0, &worker.reports[i]);
		conn_close(i);
	}
}

msec
worker_run_timers(msec at)
{
	uint32_t last = worker.conns[worker.capacity + PH_RUNNABLE].older,
		 i = UINT32_MAX;
	msec next = NEVER;

	while (list_head(PH_RUNNABLE) < worker.capacity && i != last) {
		i = list_head(PH_RUNNABLE);
		run_relay(i);
	}
	while (timers_earliest(&worker.timers, &i) <= at)
		timed_out(i);
	next = timers_earliest(&worker.timers, &i);
	for (int phase = PH_RETRYING; phase < PH_RUNNABLE; phase++) {
		msec timeout = worker.timeouts[phase];

		while ((i = list_head(phase)) < worker.capacity && timeout &&
		    worker.conns[i].phase_since + timeout <= at)
			timed_out(i);
		if (i < worker.capacity && timeout &&
		    worker.conns[i].phase_since + timeout < next)
			next = worker.conns[i].phase_since + timeout;
	}
	return list_head(PH_RUNNABLE) < worker.capacity ? at : next;
}

void
worker_add_conn(uint32_t i, struct conn *conn)
{
	struct worker_conn *c = &worker.conns[i];
	int client = conn->client;

	*c = (struct worker_conn){.conn = *conn};
	dialer_init(&c->dialer, &c->conn, NULL);
	if (conn->peer.sa.sa_family == AF_UNIX)
		sock_set_oobinline(client);
	relay_init(&c->pair, client, -1,
	    conn->peer.sa.sa_family != AF_UNIX && worker.all_tcp,
	    worker.spill_buffers + (size_t)i * 2 * RELAY_COPY,
	    &worker.reports[i]);
	if (relay_register(worker.epoll, client, event_of(i, RELAY_CLIENT)) ==
	    -1)
		fail(i, END_LOCAL, errno);
	else
		dial_next_address(i);
}

/* Untouched pages cost nothing. */
static void *
allocate(size_t n, size_t size)
{
	return mmap(NULL, n * size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

int
worker_alloc(const struct map *map, uint32_t capacity)
{
	struct relay half_closed = {.dirs[0].done = true};

	worker.all_tcp = true;
	for (size_t i = 0; i < map->n_targets; i++) {
		enum endpoint_kind kind = map->targets[i].kind;

		worker.all_tcp &=
		    kind != EP_UNIX_PATH && kind != EP_UNIX_ABSTRACT;
	}
	worker.map = map;
	worker.capacity = capacity;
	worker.timeouts[PH_RETRYING] = ATTEMPT_RETRY_MS;
	worker.timeouts[PH_ESTABLISHED] = map->times.idle;
	worker.timeouts[HALF_CLOSED] = relay_timeout(&half_closed, &map->times);
	worker.timeouts[DRAINING] = IO_POLL_ACKED_MS;
	worker.conns = allocate(capacity + PHASES, sizeof(*worker.conns));
	worker.spill_buffers = allocate(capacity, (size_t)2 * RELAY_COPY);
	if (worker.conns == MAP_FAILED || worker.spill_buffers == MAP_FAILED)
		return -1;
	return timers_init(&worker.timers, capacity);
}

void
worker_init(int epoll, uint64_t base, struct conn_report *report,
    void (*ended)(uint32_t, int))
{
	worker.epoll = epoll;
	worker.ev_base = base;
	worker.reports = report;
	worker.on_closed = ended;
	for (uint32_t head = worker.capacity; head < worker.capacity + PHASES;
	     head++)
		worker.conns[head].older = worker.conns[head].newer = head;
}
