/* The mapper of a UDP map: flows between its listeners and its targets. */

/*
 * Theory of operation
 *
 * A flow is one client (address, port, scope) talking to one local address of
 * one listener, and owns a socket in the destination namespace, connected to
 * one target: to the target a flow is a client with a port of its own, for as
 * long as it lives. Replies leave through the listener, from the address that
 * the client wrote to.
 *
 * Flows hang in a hash by that key, and in one of two lists by age: one-way
 * until the target has answered, then answered. Both are kept in the order of
 * last use, so the head of each is the next to expire and there is one timeout
 * for all of them. At the cap an old one-way flow makes room, an answered one
 * never: a flood from many sources cannot end what works.
 *
 * A batch from a listener is sorted into its flows before any of it is sent,
 * so that what goes to one flow goes in one call. A datagram that cannot be
 * sent is counted and forgotten: nobody waits for it.
 *
 * A target that refuses is left for the next one: by flows to come, and by the
 * flow that met it unless it was answered before.
 */

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mapper.h"
#include "udp.h"

#define EVENTS         64
#define CANDIDATES_MAX 64
#define GRACE_MS       1000  /* an unanswered flow is not evicted before */
#define RESOLVE_MS     60000 /* how long the addresses of a name are good */
#define RETRY_MS       1000  /* where there are none */
#define CHANNEL        UINT64_MAX
#define LISTENER       ((uint64_t)1 << 32) /* in epoll's data, then its index */

/* Datagrams that did not go on, by reason. */
struct drops {
	unsigned long long source;   /* a source that is none, or not allowed */
	unsigned long long limit;    /* no room for one more flow */
	unsigned long long up, down; /* refused by the kernel on the way out */
	unsigned long long overflow; /* came faster than we read */
};

static struct udp {
	const struct post *post;
	const struct map *map;
	struct flows flows;
	struct candidate candidate[CANDIDATES_MAX];
	size_t candidates;
	uint32_t current; /* the candidate that a new flow begins with */
	deadline resolve; /* the next time; 0: it has not been done */
	deadline now;
	size_t limit; /* the largest datagrams that go out joined */
	int epoll;
	struct drops drops;
} udp;

/* One for all: what is in it has gone before the next is received. */
static struct batch *batch;

static void
count(enum count what, unsigned long long n)
{
	atomic_fetch_add(&udp.post->count[what], n);
}

static void
close_target(struct flow *f)
{
	udp.drops.overflow += datagram_overflow(f->fd);
	close(f->fd);
}

static void
end_flow(struct flow *f, const char *end)
{
	char client[LOG_ADDR], target[LOG_ADDR];

	log_debug("flow from=%s to=%s map=%s client=%s target=%s up=%llu "
		  "down=%llu up-datagrams=%llu down-datagrams=%llu ms=%lld "
		  "end=%s",
	    ns_word(&udp.map->from), ns_word(&udp.map->to), udp.map->word,
	    log_addr(&f->key.peer.any, client),
	    log_addr(&f->target.any, target), f->up, f->down, f->sent,
	    f->received, (long long)(udp.now - f->born), end);
	close_target(f);
	flow_remove(&udp.flows, f);
	atomic_fetch_sub(&udp.post->count[COUNT_OPEN], 1);
}

static void
drop(unsigned long long *reason, unsigned long long n, const char *text,
    const struct flow_key *key, int error)
{
	char client[LOG_ADDR];

	*reason += n;
	count(COUNT_DROPPED, n);
	log_limited("'%s': dropped a datagram of %s: %s%s%s", udp.map->word,
	    log_addr(&key->peer.any, client), text, error ? ": " : "",
	    error ? log_errno(error) : "");
}

static bool
may_move(void)
{
	for (size_t i = 0; i < udp.map->targets; i++)
		if (udp.map->target[i].kind == SIDE_HOST ||
		    udp.map->target[i].zone)
			return true;
	return false;
}

/*
 * A name is asked for again when a flow begins and the last answer is old; an
 * answer that fails leaves the last one in force.
 */
static void
resolve(void)
{
	struct candidate fresh[CANDIDATES_MAX];
	size_t n;

	if (udp.now < udp.resolve || (udp.candidates && !may_move()))
		return;
	n = dial_candidates(udp.map, fresh, CANDIDATES_MAX);
	if (n) {
		memcpy(udp.candidate, fresh, n * sizeof(*fresh));
		udp.current = udp.candidates == n ? udp.current : 0;
		udp.candidates = n;
	} else {
		log_limited("'%s': no target address: %s", udp.map->word,
		    log_errno(errno));
	}
	udp.now = now();
	udp.resolve = udp.now + (udp.candidates ? RESOLVE_MS : RETRY_MS);
}

/*
 * A connected socket hears of refusals and of nobody else. What came in while
 * connect(2) was at work may be of strangers. The port lies at the same place
 * in the addresses of both families.
 */
static int
open_target(struct flow *f)
{
	const struct candidate *c = &udp.candidate[f->candidate];
	const struct side *side = &udp.map->target[c->target];
	uint16_t index = udp.post->listener[f->key.listener].index;
	int fd;
	char byte;

	memcpy(&f->target, &c->addr, c->length);
	if (side->lo != side->hi)
		f->target.six.sin6_port = htons((uint16_t)(side->lo + index));
	fd = socket(c->addr.ss_family,
	    SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	datagram_prepare(fd, c->addr.ss_family, false, !udp.map->plain);
	if (dial_prepare(fd, udp.map, c->addr.ss_family) == 0 &&
	    connect(fd, &f->target.any, c->length) == 0) {
		for (int i = 0; i < BATCH && recv(fd, &byte, 1, 0) != -1; i++)
			;
		if (!dial_met_itself(fd, &f->target, c->length))
			return fd;
		errno = ECONNREFUSED;
	}
	return dial_give_up(fd);
}

/*
 * Connects the flow to the candidate or, failing that, to one after it; errno
 * is that of the first.
 */
static int
connect_flow(struct flow *f, uint32_t candidate)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int fd = -1, first = 0;

	for (size_t i = 0; i < udp.candidates && fd == -1; i++) {
		f->candidate = (uint32_t)((candidate + i) % udp.candidates);
		fd = open_target(f);
		first = first ? first : errno;
	}
	errno = first;
	if (fd == -1)
		return -1;
	ev.data.u64 = (uint64_t)(f - udp.flows.flow);
	if (epoll_ctl(udp.epoll, EPOLL_CTL_ADD, fd, &ev) == -1) {
		close(fd);
		return -1;
	}
	if (f->fd != -1)
		close_target(f);
	f->fd = fd;
	return 0;
}

/* Only a flow that had its time for an answer and got none makes room. */
static struct flow *
evictable(void)
{
	struct flow *f = udp.flows.oldest[FLOW_ONE_WAY];

	return f && !f->first && udp.now - f->seen >= GRACE_MS ? f : NULL;
}

static struct flow *
new_flow(const struct flow_key *key)
{
	uint32_t most = udp.map->max.source;
	struct flow *f = udp.flows.free;

	if (!f)
		f = evictable();
	if (!f || (most && flow_count_source(&udp.flows, &key->peer) >= most)) {
		drop(&udp.drops.limit, 1,
		    f ? "max-source flows are from there"
		      : "the map has flows= of them",
		    key, 0);
		return NULL;
	}
	if (f->fd != -1)
		end_flow(f, "evicted");
	resolve();
	f->key = *key;
	if (connect_flow(f, udp.current) == -1) {
		drop(&udp.drops.up, 1, "no way to the target", key, errno);
		return NULL;
	}
	f->born = f->seen = udp.now;
	f->up = f->down = f->sent = f->received = 0;
	f->first = NULL;
	flow_add(&udp.flows, f);
	count(COUNT_BEGUN, 1);
	count(COUNT_OPEN, 1);
	return f;
}

/* Sources that nobody may be answered at: RFC 1122 3.2.1.3, as inetd does. */
static bool
answerable(const union peer *peer)
{
	uint32_t first = ntohl(peer->four.sin_addr.s_addr) >> 24;

	if (peer->six.sin6_port == 0)
		return false;
	if (peer->any.sa_family == AF_INET)
		return first != 0 && first < 224;
	return !IN6_IS_ADDR_MULTICAST(&peer->six.sin6_addr) &&
	    !IN6_IS_ADDR_UNSPECIFIED(&peer->six.sin6_addr);
}

static struct flow *
find_flow(const struct flow_key *key)
{
	struct flow *f = flow_find(&udp.flows, key);

	if (f)
		return f;
	if (!answerable(&key->peer))
		drop(&udp.drops.source, 1, "no source that can be answered",
		    key, 0);
	else if (!side_admits(udp.map, &key->peer))
		drop(&udp.drops.source, 1, "it is not allowed", key, 0);
	else
		return new_flow(key);
	return NULL;
}

/* New flows go on to the next target; one that was never answered, too. */
static void
refused(struct flow *f)
{
	uint32_t next;

	if (udp.candidates < 2)
		return;
	next = (uint32_t)((f->candidate + 1) % udp.candidates);
	if (udp.current == f->candidate)
		udp.current = next;
	if (f->list == FLOW_ONE_WAY)
		connect_flow(f, next);
}

/* Has the first datagram of a flow been refused already? On lo it has. */
static bool
refused_at_once(int fd)
{
	socklen_t length = sizeof(int);
	int error = 0;

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
	return datagram_refused(error);
}

/* The socket may have an address of ours that is gone: a new one may do. */
static bool
lost_way(int err)
{
	return err == ENETUNREACH || err == EHOSTUNREACH || err == EINVAL ||
	    err == EADDRNOTAVAIL || err == ENODEV;
}

static void
send_up(struct flow *f)
{
	struct outcome out = {0};
	size_t tries = udp.candidates;

	datagram_send(f->fd, NULL, &udp.limit, f->first, &out);
	if (out.refused)
		refused(f);
	while (f->sent == 0 && tries-- > 1 && refused_at_once(f->fd)) {
		refused(f);
		out = (struct outcome){0};
		datagram_send(f->fd, NULL, &udp.limit, f->first, &out);
	}
	if (!out.datagrams && lost_way(out.error) && udp.candidates &&
	    connect_flow(f, f->candidate % (uint32_t)udp.candidates) == 0) {
		out = (struct outcome){0};
		datagram_send(f->fd, NULL, &udp.limit, f->first, &out);
	}
	f->first = NULL;
	f->sent += out.datagrams;
	f->up += out.bytes;
	count(COUNT_SENT, out.datagrams);
	count(COUNT_UP, out.bytes);
	if (out.lost)
		drop(&udp.drops.up, out.lost, "not sent to the target", &f->key,
		    out.error);
	flow_touch(&udp.flows, f, f->list, udp.now);
}

/* Sorts the batch into its flows, in order, and sends each flow's share. */
static void
on_listener(uint32_t listener)
{
	struct flow *touched[BATCH], *f;
	size_t flows = 0;

	if (datagram_receive(udp.post->listener[listener].fd, batch) == -1)
		return;
	for (size_t i = 0; i < batch->count; i++) {
		struct datagram *d = &batch->datagram[i];

		d->next = NULL;
		d->key->listener = listener;
		f = find_flow(d->key);
		if (!f)
			continue;
		if (f->first) {
			f->last->next = d;
		} else {
			f->first = d;
			touched[flows++] = f;
		}
		f->last = d;
	}
	while (flows)
		send_up(touched[--flows]);
}

static void
send_down(struct flow *f)
{
	int fd = udp.post->listener[f->key.listener].fd;
	struct outcome out = {0};

	for (size_t i = 0; i < batch->count; i++)
		batch->datagram[i].next =
		    i + 1 < batch->count ? &batch->datagram[i + 1] : NULL;
	datagram_send(fd, &f->key, &udp.limit, batch->datagram, &out);
	f->received += out.datagrams;
	f->down += out.bytes;
	count(COUNT_RECEIVED, out.datagrams);
	count(COUNT_DOWN, out.bytes);
	if (out.lost)
		drop(&udp.drops.down, out.lost, "not sent to the client",
		    &f->key, out.error);
	flow_touch(&udp.flows, f, FLOW_ANSWERED, udp.now);
}

/* An event may be older than its flow's end. */
static void
on_flow(struct flow *f)
{
	if (f->fd == -1)
		return;
	if (datagram_receive(f->fd, batch) == 0)
		send_down(f);
	else if (datagram_refused(errno))
		refused(f);
}

/* Returns the time until the next flow expires; -1: there is none. */
static int
expire(void)
{
	const deadline span[] = {udp.map->times.one_way,
	    udp.map->times.answered};
	deadline left = INT32_MAX;

	for (int list = FLOW_ONE_WAY; list <= FLOW_ANSWERED; list++) {
		struct flow *f = udp.flows.oldest[list];

		if (!span[list])
			continue;
		for (; f && f->seen + span[list] <= udp.now;
		     f = udp.flows.oldest[list])
			end_flow(f, "idle");
		if (f && f->seen + span[list] - udp.now < left)
			left = f->seen + span[list] - udp.now;
	}
	return left == INT32_MAX ? -1 : (int)left;
}

static unsigned long long
counted(enum count what)
{
	return atomic_load(&udp.post->count[what]);
}

static void
log_table(void)
{
	char client[LOG_ADDR], target[LOG_ADDR];
	const struct flow *f;

	for (int list = FLOW_ONE_WAY; list <= FLOW_ANSWERED; list++)
		for (f = udp.flows.oldest[list]; f; f = f->newer)
			log_row(log_addr(&f->key.peer.any, client),
			    log_addr(&f->target.any, target), f->up, f->down,
			    f->born);
	send(udp.post->channel, &(int){0}, sizeof(int), MSG_NOSIGNAL);
}

/* Without its listener no flow can be answered: the drain of UDP is the end. */
static _Noreturn void
finish(void)
{
	for (int list = FLOW_ONE_WAY; list <= FLOW_ANSWERED; list++)
		while (udp.flows.oldest[list])
			end_flow(udp.flows.oldest[list], "stopped");
	for (size_t i = 0; i < udp.post->listeners; i++)
		udp.drops.overflow +=
		    datagram_overflow(udp.post->listener[i].fd);
	log_info("udp map=%s flows=%llu up-datagrams=%llu down-datagrams=%llu "
		 "dropped: source=%llu limit=%llu up=%llu "
		 "down=%llu overflow=%llu",
	    udp.map->word, counted(COUNT_BEGUN), counted(COUNT_SENT),
	    counted(COUNT_RECEIVED), udp.drops.source, udp.drops.limit,
	    udp.drops.up, udp.drops.down, udp.drops.overflow);
	_exit(0);
}

/* Any order but one ends it, as does the end of the channel. */
static void
obey(void)
{
	char order = ORDER_DRAIN;

	if (recv(udp.post->channel, &order, 1, MSG_DONTWAIT) == -1)
		return;
	if (order != ORDER_TABLE)
		finish();
	log_table();
}

static void
turn(void)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(udp.epoll, ev, EVENTS, expire());

	udp.now = now();
	for (int i = 0; i < n; i++) {
		uint64_t data = ev[i].data.u64;

		if (data == CHANNEL)
			obey();
		else if (data >= LISTENER)
			on_listener((uint32_t)(data - LISTENER));
		else
			on_flow(&udp.flows.flow[data]);
	}
}

static int
watch(int fd, uint64_t data)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};

	return epoll_ctl(udp.epoll, EPOLL_CTL_ADD, fd, &ev);
}

int
udp_equip(const struct post *post)
{
	udp.post = post;
	udp.map = post->map;
	udp.limit = udp.map->plain ? 0 : DATAGRAM_SIZE;
	udp.epoll = epoll_create1(EPOLL_CLOEXEC);
	batch = mmap(NULL, sizeof(*batch), PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (batch == MAP_FAILED ||
	    flow_table(&udp.flows, post->map->max.flows) == -1 ||
	    udp.epoll == -1 || watch(post->channel, CHANNEL) == -1)
		return -1;
	for (size_t i = 0; i < post->listeners; i++)
		if (watch(post->listener[i].fd, LISTENER + i) == -1)
			return -1;
	return 0;
}

_Noreturn void
udp_serve(void)
{
	resolve();
	for (;;)
		turn();
}
