/* The event loop of a worker: dials and relays many connections. */

/*
 * Theory of operation
 *
 * A connection is in one phase at a time, and each phase is a list in the order
 * of arrival. Since all of a list may stay there for the same time, the head of
 * each is the next to be late, whatever their number. An event moves its
 * connection to the end of a list: time counts from the last one.
 */

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "relay.h"
#include "tcp.h"

#define RETRY_MS 10 /* while a UNIX listener's backlog is full */

enum phase {
	NONE,
	DIALLING,    /* until the candidate has had its share of the time */
	RETRYING,    /* before the same one is tried again */
	OPEN,        /* for as long as a connection may be idle */
	HALF_CLOSED, /* one direction has ended */
	BUSY,        /* for one turn of the loop: it has not finished its own */
	PHASES
};

struct conn {
	struct pair pair;
	uint32_t older, newer; /* in the list of its phase */
	uint16_t index;        /* of the port in the map's range */
	uint8_t phase;
	bool second;      /* address of the target that it dials */
	uint32_t first;   /* target for it */
	uint64_t tried;   /* targets, a bit for each */
	union peer to;    /* the address, unless it is a UNIX socket */
	socklen_t length; /* of that */
	deadline since;   /* it is in this phase, or was heard of last */
	deadline begun;   /* with this address */
	int error;        /* of the last target's first address */
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
	struct tally *tally;
	_Atomic deadline *failed; /* when each target last did */
	void (*ended)(uint32_t, int);
} worker;

static void
leave(struct conn *c)
{
	if (!c->phase)
		return;
	worker.conn[c->older].newer = c->newer;
	worker.conn[c->newer].older = c->older;
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
		    c->pair.busy ? BUSY
			: c->pair.half[RELAY_CLIENT].done ||
			    c->pair.half[RELAY_SERVER].done
			? HALF_CLOSED
			: OPEN);
	}
}

static bool
rests(uint32_t target)
{
	return worker.failed && worker.failed[target] > now() - DIAL_REST_MS;
}

/* Goes on to the next address to dial: false if there is none left. */
static bool
advance(struct conn *c, uint32_t *target)
{
	const struct map *map = worker.map;
	uint32_t n = (uint32_t)map->targets, best = n, at;

	c->begun = now();
	c->second = c->tried && !c->second &&
	    map->target[*target].kind == SIDE_LOOPBACK;
	if (c->second)
		return true;
	for (uint32_t i = 0; i < n; i++) {
		at = (c->first + i) % n;
		if (c->tried >> at & 1)
			continue;
		if (best == n || (rests(best) && !rests(at)))
			best = at;
	}
	if (best == n)
		return false;
	*target = best;
	c->tried |= UINT64_C(1) << best;
	return true;
}

/* 0: it is connected already. The socket is in its place in any case. */
static int
attempt(uint32_t i, const struct side *side)
{
	struct conn *c = &worker.conn[i];
	int family = c->second ? AF_INET6 : AF_INET;
	struct sockaddr_storage addr;
	const void *to = &addr;
	int fd;

	c->length = dial_address(&addr, side,
	    side->lo == side->hi ? 0 : c->index, family);
	memcpy(&c->to, &addr, sizeof(c->to));
	if (!c->length)
		return -1;
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	*server_of(c) = c->pair.half[RELAY_CLIENT].to = fd;
	if (fd == -1)
		return -1;
	relay_prepare(fd);
	if (dial_prepare(fd, worker.map, addr.ss_family) == -1 ||
	    relay_watch(worker.epoll, fd, event_of(i, RELAY_SERVER)) == -1)
		return -1;
	return connect(fd, to, c->length);
}

/* What this address said may be what the log will say. */
static void
miss(uint32_t i)
{
	struct conn *c = &worker.conn[i];

	if (!c->second) {
		c->error = errno;
		worker.tally[i].peer = c->to;
	}
	close_server(c);
	if (worker.failed)
		atomic_store(&worker.failed[worker.tally[i].target], now());
}

/* A port of the ephemeral range that nobody listens on may meet itself. */
static bool
join(uint32_t i)
{
	struct conn *c = &worker.conn[i];

	if (dial_met_itself(*server_of(c), &c->to, c->length)) {
		errno = ECONNREFUSED;
		return false;
	}
	worker.tally[i].peer = c->to;
	move(i);
	return true;
}

/* Dials one address after the other until one is connected, or under way. */
static void
dial_on(uint32_t i)
{
	struct conn *c = &worker.conn[i];
	uint32_t *target = &worker.tally[i].target;

	do {
		if (dial_reset(c->pair.half[RELAY_CLIENT].from)) {
			fail(i, END_CLIENT, errno);
			return;
		}
		if (attempt(i, &worker.map->target[*target]) == 0 && join(i))
			return;
		if (errno == EINPROGRESS) {
			enter(i, DIALLING);
			return;
		}
		if (errno == EAGAIN &&
		    (!worker.span[DIALLING] ||
			now() < c->begun + worker.span[DIALLING])) {
			close_server(c);
			enter(i, RETRYING);
			return;
		}
		miss(i);
	} while (advance(c, target));
	fail(i, END_DIAL, c->error);
}

static void
dial_next(uint32_t i)
{
	miss(i);
	if (advance(&worker.conn[i], &worker.tally[i].target))
		dial_on(i);
	else
		fail(i, END_DIAL, worker.conn[i].error);
}

/* What connect(2) came to. */
static void
decided(uint32_t i, uint32_t events)
{
	struct conn *c = &worker.conn[i];
	socklen_t length = sizeof(errno);
	int error = 0;

	getsockopt(*server_of(c), SOL_SOCKET, SO_ERROR, &error, &length);
	errno = error;
	if (!error) {
		relay_note(&c->pair, RELAY_SERVER, events);
		if (join(i))
			return;
	}
	dial_next(i);
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
		decided(i, events);
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
		errno = ETIMEDOUT;
		dial_next(i);
		break;
	case RETRYING:
		dial_on(i);
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
	for (int phase = DIALLING; phase < BUSY; phase++) {
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

	*c = (struct conn){.index = (uint16_t)call->index};
	c->first = (uint32_t)dial_first(call);
	worker.failed = call->failed;
	advance(c, &worker.tally[i].target);
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
	deadline places = (deadline)map->targets;

	worker.inet = true;
	for (size_t i = 0; i < map->targets; i++) {
		enum side_kind kind = map->target[i].kind;

		places += kind == SIDE_LOOPBACK;
		worker.inet &= kind != SIDE_PATH && kind != SIDE_ABSTRACT;
	}
	worker.map = map;
	worker.room = room;
	worker.span[DIALLING] = places ? map->times.connect / places : 0;
	worker.span[RETRYING] = RETRY_MS;
	worker.span[OPEN] = map->times.idle;
	worker.span[HALF_CLOSED] = relay_patience(&half_closed, &map->times);
	worker.conn = allocate(room + PHASES, sizeof(*worker.conn));
	worker.own = allocate(room, (size_t)2 * RELAY_COPY);
	return worker.conn == MAP_FAILED || worker.own == MAP_FAILED ? -1 : 0;
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
