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
 * Which target and address is dialled is the decision of dial.c: the driver
 * here starts an attempt and comes back when it is decided, or late.
 */

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dial.h"
#include "io.h"
#include "relay.h"
#include "tcp.h"

enum phase {
	NONE,
	DIALLING,    /* until the address has had its share of the time */
	RETRYING,    /* before the same address is tried again */
	OPEN,        /* for as long as a connection may be idle */
	HALF_CLOSED, /* one direction has ended */
	DRAINING,    /* it failed; until one looks what is left to deliver */
	BUSY,        /* for one turn of the loop: it has not finished its own */
	PHASES
};

struct conn {
	struct pair pair;
	struct call call;
	struct dialing dialing;
	uint32_t older, newer; /* in the list of its phase */
	uint8_t phase;
	deadline since; /* it is in this phase, or was heard of last */
};

static struct worker {
	const struct map *map;
	struct conn *conn;  /* behind the last one the heads of the lists */
	unsigned char *own; /* of each, what relay_begin() wants */
	uint32_t room;
	deadline span[PHASES]; /* 0: for ever */
	bool inet;             /* no target is a UNIX socket */
	int epoll;
	uint64_t base;
	struct timers timers; /* of those that dial */
	struct tally *tally;
	void (*ended)(uint32_t, int);
} worker;

static void
leave(struct conn *c)
{
	if (!c->phase)
		return;
	worker.conn[c->older].newer = c->newer;
	worker.conn[c->newer].older = c->older;
	if (c->phase == DIALLING)
		timers_clear(&worker.timers, (uint32_t)(c - worker.conn));
	c->phase = NONE;
}

/* Becomes the newest of that phase. */
static void
enter(uint32_t i, enum phase phase)
{
	uint32_t head = worker.room + phase;
	struct conn *c = &worker.conn[i];

	leave(c);
	c->phase = (uint8_t)phase;
	c->since = worker.span[phase] ? now() : 0;
	c->newer = head;
	c->older = worker.conn[head].older;
	worker.conn[c->older].newer = i;
	worker.conn[head].older = i;
}

static uint32_t
oldest(enum phase phase)
{
	return worker.conn[worker.room + phase].newer;
}

static uint64_t
event_of(uint32_t i, enum relay_side side)
{
	return worker.base + i * UINT64_C(2) + side;
}

static int *
server_of(struct conn *c)
{
	return &c->pair.half[RELAY_SERVER].from;
}

static void
close_server(struct conn *c)
{
	if (*server_of(c) != -1)
		close(*server_of(c));
	*server_of(c) = -1;
}

/* The tally says already how it ended. */
static void
finish(uint32_t i)
{
	struct conn *c = &worker.conn[i];

	close(c->pair.half[RELAY_CLIENT].from);
	close_server(c);
	leave(c);
	worker.ended(i, 0);
}

static void
fail(uint32_t i, enum end end, int error)
{
	worker.tally[i].end = (int32_t)end;
	worker.tally[i].error = error;
	finish(i);
}

static void
move(uint32_t i)
{
	struct conn *c = &worker.conn[i];
	int ended = relay_turn(&c->pair);

	if (ended) {
		relay_end(&c->pair, ended, &worker.tally[i]);
		finish(i);
	} else {
		enter(i,
		    c->pair.busy         ? BUSY
			: c->pair.drains ? DRAINING
			: c->pair.half[RELAY_CLIENT].done ||
			    c->pair.half[RELAY_SERVER].done
			? HALF_CLOSED
			: OPEN);
	}
}

/* Starts to connect to an address. The socket is in its place in any case. */
static enum attempt
attempt(uint32_t i, const struct candidate *to)
{
	struct conn *c = &worker.conn[i];
	int fd = attempt_open(worker.map, to->addr.ss_family);

	*server_of(c) = c->pair.half[RELAY_CLIENT].to = fd;
	if (fd == -1 ||
	    relay_watch(worker.epoll, fd, event_of(i, RELAY_SERVER)) == -1)
		return ATTEMPT_FAILED;
	return attempt_connect(fd, to);
}

/* True if the connection has a socket, and is to wait, or has ended. */
static bool
decided(uint32_t i, const struct candidate *to, enum attempt result)
{
	struct conn *c = &worker.conn[i];

	if (result == ATTEMPT_RETRY && now() >= c->dialing.address_until) {
		errno = ETIMEDOUT;
		result = ATTEMPT_FAILED;
	}
	switch (result) {
	case ATTEMPT_DONE:
		dial_reached(&c->dialing, to);
		move(i);
		return true;
	case ATTEMPT_WAIT:
		enter(i, DIALLING);
		timers_set(&worker.timers, i, c->dialing.address_until);
		return true;
	case ATTEMPT_RETRY:
		close_server(c);
		enter(i, RETRYING);
		return true;
	case ATTEMPT_FAILED:
		dial_missed(&c->dialing, to);
		close_server(c);
	}
	return false;
}

/* True if the client has gone, which ends its connection. */
static bool
abandoned(uint32_t i)
{
	if (!dial_reset(worker.conn[i].call.client))
		return false;
	fail(i, END_CLIENT, errno);
	return true;
}

/* Dials one address after the other until one is connected, or under way. */
static void
dial_on(uint32_t i)
{
	struct conn *c = &worker.conn[i];
	struct candidate to;

	do {
		if (abandoned(i))
			return;
		if (dial_next(&c->dialing, &to) == -1) {
			fail(i, END_DIAL, errno);
			return;
		}
	} while (!decided(i, &to, attempt(i, &to)));
}

static void
dial_again(uint32_t i)
{
	struct conn *c = &worker.conn[i];
	struct candidate to;

	if (abandoned(i))
		return;
	if (dial_same(&c->dialing, &to) == -1 ||
	    !decided(i, &to, attempt(i, &to)))
		dial_on(i);
}

/* What connect(2) came to: by an event, or, without any, too late. */
static void
hear(uint32_t i, uint32_t events)
{
	struct conn *c = &worker.conn[i];
	enum attempt result = ATTEMPT_FAILED;
	struct candidate to;

	if (dial_same(&c->dialing, &to) == 0) {
		errno = ETIMEDOUT;
		if (events)
			result = attempt_result(*server_of(c), &to);
	}
	if (result == ATTEMPT_DONE)
		relay_note(&c->pair, RELAY_SERVER, events);
	if (!decided(i, &to, result))
		dial_on(i);
}

/* An event may be older than its connection's end, in the same turn. */
void
worker_event(uint64_t data, uint32_t events)
{
	uint32_t i = (uint32_t)(data / 2);
	struct conn *c = &worker.conn[i];
	int side = (int)(data % 2);

	if (c->phase == NONE)
		return;
	if (c->phase > RETRYING) {
		relay_note(&c->pair, side, events);
		move(i);
	} else if (side == RELAY_SERVER) {
		hear(i, events);
	} else if (events & EPOLLERR) {
		fail(i, END_CLIENT, ECONNABORTED);
	} else {
		relay_note(&c->pair, side, events);
	}
}

static void
late(uint32_t i)
{
	struct conn *c = &worker.conn[i];

	switch (c->phase) {
	case DIALLING:
		hear(i, 0);
		break;
	case RETRYING:
		dial_again(i);
		break;
	case DRAINING:
		move(i);
		break;
	default:
		relay_end(&c->pair, 0, &worker.tally[i]);
		finish(i);
	}
}

deadline
worker_run(deadline at)
{
	uint32_t last = worker.conn[worker.room + BUSY].older, i = UINT32_MAX;
	deadline next = NEVER;

	while (oldest(BUSY) < worker.room && i != last) {
		i = oldest(BUSY);
		move(i);
	}
	while (timers_first(&worker.timers, &i) <= at)
		late(i);
	next = timers_first(&worker.timers, &i);
	for (int phase = RETRYING; phase < BUSY; phase++) {
		deadline span = worker.span[phase];

		while ((i = oldest(phase)) < worker.room && span &&
		    worker.conn[i].since + span <= at)
			late(i);
		if (i < worker.room && span &&
		    worker.conn[i].since + span < next)
			next = worker.conn[i].since + span;
	}
	return oldest(BUSY) < worker.room ? at : next;
}

void
worker_begin(uint32_t i, struct call *call)
{
	struct conn *c = &worker.conn[i];
	int client = call->client;

	*c = (struct conn){.call = *call};
	dial_start(&c->dialing, &c->call, NULL);
	if (call->from.any.sa_family == AF_UNIX)
		relay_inline(client);
	relay_begin(&c->pair, client, -1,
	    call->from.any.sa_family != AF_UNIX && worker.inet,
	    worker.own + (size_t)i * 2 * RELAY_COPY, &worker.tally[i]);
	if (relay_watch(worker.epoll, client, event_of(i, RELAY_CLIENT)) == -1)
		fail(i, END_LOCAL, errno);
	else
		dial_on(i);
}

/* Untouched pages cost nothing. */
static void *
allocate(size_t n, size_t size)
{
	return mmap(NULL, n * size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

int
worker_equip(const struct map *map, uint32_t room)
{
	struct pair half_closed = {.half[0].done = true};

	worker.inet = true;
	for (size_t i = 0; i < map->targets; i++) {
		enum side_kind kind = map->target[i].kind;

		worker.inet &= kind != SIDE_PATH && kind != SIDE_ABSTRACT;
	}
	worker.map = map;
	worker.room = room;
	worker.span[RETRYING] = DIAL_RETRY_MS;
	worker.span[OPEN] = map->times.idle;
	worker.span[HALF_CLOSED] = relay_patience(&half_closed, &map->times);
	worker.span[DRAINING] = IO_LOOK_MS;
	worker.conn = allocate(room + PHASES, sizeof(*worker.conn));
	worker.own = allocate(room, (size_t)2 * RELAY_COPY);
	if (worker.conn == MAP_FAILED || worker.own == MAP_FAILED)
		return -1;
	return timers_init(&worker.timers, room);
}

void
worker_open(int epoll, uint64_t base, struct tally *tally,
    void (*ended)(uint32_t, int))
{
	worker.epoll = epoll;
	worker.base = base;
	worker.tally = tally;
	worker.ended = ended;
	for (uint32_t head = worker.room; head < worker.room + PHASES; head++)
		worker.conn[head].older = worker.conn[head].newer = head;
}
