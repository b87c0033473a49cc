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
 * Flows hang in a hash by that key, and in one of three lists by age: one-way
 * until the target has answered, then answered, and assured once the client has
 * sent something after an answer. Each is kept in the order of last use, so the
 * head of each is the next to expire and there is one timeout for all of them.
 * At the cap, or where descriptors or ports run out, an old flow that is not
 * assured makes room: a flood from many sources cannot end what works. Where
 * all are assured, a source that has more than half of them makes room for other
 * sources: nor can one source keep out the others.
 *
 * A batch from a listener is sorted into its flows before any of it is sent,
 * so that what goes to one flow goes in one call. A datagram that cannot be
 * sent is counted and forgotten: nobody waits for it.
 *
 * A target that refuses is left for the next one: by flows to come, and by the
 * flow that met it unless it was answered before. Names are asked again then: an
 * address that they do not have any more is left by all that find it refuse. A
 * target that has sent nothing while its client sent for as long as an answered
 * flow may be idle is left, too; whoever answers then has the flows to come.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/errname.h"
#include "base/log.h"
#include "base/sock.h"
#include "config/map.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "netns.h"
#include "udp/datagram.h"
#include "udp/flow.h"
#include "udp/target.h"
#include "udp/udp.h"

#define EVENTS   64
#define GRACE_MS 1000 /* silence before which no flow makes room */
#define DOUBLE   10   /* how often the time for a silent target doubles */
#define RESERVED 16   /* descriptors beside those of listeners and flows */
#define CHANNEL  UINT64_MAX
#define LISTENER ((uint64_t)1 << 32) /* in epoll's data, then its index */

/* Datagrams that did not go on, by reason. */
struct drops {
	unsigned long long source;   /* a source that is none, or not allowed */
	unsigned long long gso_max;  /* no room for one more flow */
	unsigned long long up, down; /* refused by the kernel on the way out */
	unsigned long long overflow; /* came faster than we read */
};

static struct udp {
	const struct mapper_args *args;
	const struct map *map;
	struct flows flows;
	struct candidates to;
	msec now;
	int epoll;
	struct drops drops;
} udp;

/* One for all: what is in it has gone before the next is received. */
static struct batch *batch;

static void
count(enum count counter, unsigned long long n)
{
	atomic_fetch_add(&udp.args->count[counter], n);
}

static void
close_target(struct flow *f)
{
	udp.drops.overflow += datagram_rcvbuf_drops(f->fd);
	close(f->fd);
}

static void
end_flow(struct flow *f, const char *end)
{
	char client[SOCKADDR_STRLEN], target[SOCKADDR_STRLEN];

	log_debug("flow from=%s to=%s map=%s client=%s target=%s up=%llu "
		  "down=%llu up-datagrams=%llu down-datagrams=%llu ms=%lld "
		  "end=%s",
	    ns_spec(&udp.map->listen_ns), ns_spec(&udp.map->target_ns),
	    udp.map->spec, sockaddr_format(&f->key.peer.sa, client),
	    sockaddr_format(&f->target.sa, target), f->up, f->down,
	    f->up_datagrams, f->down_datagrams,
	    (long long)(udp.now - f->started_at), end);
	close_target(f);
	flow_remove(&udp.flows, f);
	atomic_fetch_sub(&udp.args->count[COUNT_OPEN], 1);
}

static void
drop(unsigned long long *reason, unsigned long long n, const char *text,
    const struct flow_key *key, int error)
{
	char client[SOCKADDR_STRLEN];

	*reason += n;
	count(COUNT_DROPPED, n);
	log_ratelimited("'%s': dropped a datagram of %s: %s%s%s", udp.map->spec,
	    sockaddr_format(&key->peer.sa, client), text, error ? ": " : "",
	    error ? errno_name(error) : "");
}

/* Asking may take a while. */
static void
resolve_at(bool lost)
{
	if (targets_resolve(&udp.to, lost))
		udp.now = now_ms();
}

static uint16_t
addr_index_of(const struct flow *f)
{
	return udp.args->listeners[f->key.listener].port_index;
}

/* The candidate that is the flow's target; their count: none is, any more. */
static uint32_t
candidate_of(const struct flow *f)
{
	return targets_find_address(&udp.to, &f->target, addr_index_of(f));
}

/*
 * Connects the flow to the candidate or, failing that, to one after it. -1 with
 * errno: it is as it was.
 */
static int
connect_flow(struct flow *f, uint32_t addrs)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct flow fresh = *f;

	fresh.fd = targets_open_socket(&udp.to, addrs, addr_index_of(f),
	    &fresh.target, &fresh.group);
	if (fresh.fd == -1)
		return -1;
	ev.data.u64 = (uint64_t)(f - udp.flows.items);
	if (epoll_ctl(udp.epoll, EPOLL_CTL_ADD, fresh.fd, &ev) == -1)
		return close_keep_errno(fresh.fd);
	if (f->fd != -1)
		close_target(f);
	*f = fresh;
	f->up_limit = udp.map->no_offload ? 0 : DATAGRAM_LIMIT;
	return 0;
}

/*
 * A flow that was silent for long enough and is not assured; or one of a source
 * that has too many of them. None that has a share of the batch at hand.
 */
static struct flow *
evictable(const struct flow_key *key)
{
	struct flow *f;

	for (int list = FLOW_ONE_WAY; list < FLOW_ASSURED; list++)
		for (f = udp.flows.oldest[list];
		     f && udp.now - f->last_used >= GRACE_MS; f = f->newer)
			if (!f->batch_first)
				return f;
	return flow_surplus(&udp.flows, &key->peer);
}

/* errno is preserved where there is none to be had. */
static bool
make_room(const struct flow_key *key)
{
	struct flow *f = evictable(key);

	if (f)
		end_flow(f, "evicted");
	return f != NULL;
}

/* Takes the first that is free; NULL with errno. */
static struct flow *
start_flow(const struct flow_key *key)
{
	struct flow *f = udp.flows.free;

	f->key = *key;
	if (connect_flow(f, udp.to.current) == -1)
		return NULL;
	f->started_at = f->last_used = udp.now;
	f->up = f->down = f->up_datagrams = f->down_datagrams = 0;
	f->batch_first = NULL;
	f->unanswered = 0;
	f->moves = 0;
	f->down_limit = f->up_limit;
	flow_add(&udp.flows, f);
	count(COUNT_STARTED, 1);
	count(COUNT_OPEN, 1);
	return f;
}

static struct flow *
new_flow(const struct flow_key *key)
{
	uint32_t most = udp.map->limits.per_source;
	struct flow *f;

	if (most && flow_count_source(&udp.flows, &key->peer) >= most) {
		drop(&udp.drops.gso_max, 1, "max-source flows are from there",
		    key, 0);
		return NULL;
	}
	if (!udp.flows.free && !make_room(key)) {
		drop(&udp.drops.gso_max, 1, "the map has flows= of them", key,
		    0);
		return NULL;
	}
	resolve_at(false);
	f = start_flow(key);
	if (!f && datagram_exhausted(errno) && make_room(key))
		f = start_flow(key);
	if (!f)
		drop(&udp.drops.up, 1, "no way to the target", key, errno);
	return f;
}

/* Sources that nobody may be answered at: RFC 1122 3.2.1.3, as inetd does. */
static bool
is_valid_source(const union sockaddr_inet *peer)
{
	uint32_t first = ntohl(peer->v4.sin_addr.s_addr) >> 24;

	if (peer->v6.sin6_port == 0)
		return false;
	if (peer->sa.sa_family == AF_INET)
		return first != 0 && first < 224;
	return !IN6_IS_ADDR_MULTICAST(&peer->v6.sin6_addr) &&
	    !IN6_IS_ADDR_UNSPECIFIED(&peer->v6.sin6_addr);
}

static struct flow *
find_flow(const struct flow_key *key)
{
	struct flow *f = flow_find(&udp.flows, key);

	if (f)
		return f;
	if (!is_valid_source(&key->peer))
		drop(&udp.drops.source, 1, "no source that can be answered",
		    key, 0);
	else if (!map_allows_client(udp.map, &key->peer))
		drop(&udp.drops.source, 1, "it is not allowed", key, 0);
	else
		return new_flow(key);
	return NULL;
}

/*
 * The target cannot be had, or does not answer. Where its name has another
 * address now, the flow goes there; else to the next target, unless it stays.
 * True if it has moved.
 */
static bool
leave_target(struct flow *f, bool stays)
{
	uint32_t at;

	resolve_at(true);
	at = candidate_of(f);
	if (at == udp.to.count)
		return connect_flow(f, udp.to.current) == 0;
	return udp.to.count > 1 && !stays &&
	    connect_flow(f, (at + 1) % udp.to.count) == 0;
}

/* New flows go on to the next target; one that was never answered, too. */
static void
on_refused(struct flow *f)
{
	uint32_t at = candidate_of(f);

	if (at == udp.to.current && udp.to.count > 1)
		udp.to.current = (at + 1) % udp.to.count;
	leave_target(f, f->list != FLOW_ONE_WAY);
}

/*
 * Nothing has come from the target for so long that it may be gone; or is that of
 * a kind that does not answer: after a round of all targets the flow stays for
 * twice as long where it has begun.
 */
static bool
is_silent(const struct flow *f)
{
	msec timeout = udp.map->times.udp, gone = udp.now - f->unanswered;
	uint32_t round;

	if (!timeout || !udp.to.count || gone < timeout)
		return false;
	round = f->moves / udp.to.count;
	if (f->moves % udp.to.count == 0)
		timeout <<= round < DOUBLE ? round : DOUBLE;
	return gone >= timeout;
}

/* The client sends: it waits for an answer from now on, or has for too long. */
static void
expect_answer(struct flow *f)
{
	if (f->unanswered && !is_silent(f))
		return;
	if (f->unanswered && leave_target(f, false) && f->moves < UINT8_MAX)
		f->moves++;
	f->unanswered = udp.now;
}

static bool
reconnect(struct flow *f)
{
	uint32_t at = candidate_of(f);

	return connect_flow(f, at < udp.to.count ? at : udp.to.current) == 0;
}

static struct send_result
send_share(struct flow *f)
{
	const struct flow_key to = {.peer = f->target};
	struct send_result out = {0};

	datagram_send(f->fd, f->group ? &to : NULL, &f->up_limit,
	    f->batch_first, &out);
	return out;
}

static void
send_up(struct flow *f)
{
	struct send_result out;
	size_t tries = udp.to.count;

	expect_answer(f);
	out = send_share(f);
	if (out.refused)
		on_refused(f);
	while (f->up_datagrams == 0 && tries-- > 1 &&
	    datagram_refused_at_once(f->fd)) {
		on_refused(f);
		out = send_share(f);
	}
	if (!out.datagrams && datagram_lost_way(out.error) && reconnect(f))
		out = send_share(f);
	f->batch_first = NULL;
	f->up_datagrams += out.datagrams;
	f->up += out.bytes;
	count(COUNT_SENT, out.datagrams);
	count(COUNT_UP, out.bytes);
	if (out.lost)
		drop(&udp.drops.up, out.lost, "not sent to the target", &f->key,
		    out.error);
	flow_touch(&udp.flows, f,
	    f->list == FLOW_ONE_WAY ? FLOW_ONE_WAY : FLOW_ASSURED, udp.now);
}

/* Sorts the batch into its flows, in order, and sends each flow's share. */
static void
on_listener(uint32_t listener)
{
	struct flow *touched[BATCH], *f;
	size_t flows = 0;

	if (datagram_receive(udp.args->listeners[listener].fd, batch) == -1)
		return;
	for (size_t i = 0; i < batch->count; i++) {
		struct datagram *d = &batch->datagram[i];

		d->next = NULL;
		d->key->listener = listener;
		f = find_flow(d->key);
		if (!f)
			continue;
		if (f->batch_first) {
			f->batch_last->next = d;
		} else {
			f->batch_first = d;
			touched[flows++] = f;
		}
		f->batch_last = d;
	}
	while (flows)
		send_up(touched[--flows]);
}

/* A flow that has moved on has found who answers: new ones begin there. */
static void
flow_answered(struct flow *f)
{
	uint32_t at;

	f->unanswered = 0;
	if (!f->moves)
		return;
	f->moves = 0;
	at = candidate_of(f);
	if (at < udp.to.count)
		udp.to.current = at;
}

static void
send_down(struct flow *f)
{
	int fd = udp.args->listeners[f->key.listener].fd;
	struct send_result out = {0};

	for (size_t i = 0; i < batch->count; i++)
		batch->datagram[i].next =
		    i + 1 < batch->count ? &batch->datagram[i + 1] : NULL;
	datagram_send(fd, &f->key, &f->down_limit, batch->datagram, &out);
	f->down_datagrams += out.datagrams;
	f->down += out.bytes;
	count(COUNT_RECEIVED, out.datagrams);
	count(COUNT_DOWN, out.bytes);
	if (out.lost)
		drop(&udp.drops.down, out.lost, "not sent to the client",
		    &f->key, out.error);
	flow_answered(f);
	flow_touch(&udp.flows, f,
	    f->list == FLOW_ONE_WAY ? FLOW_ANSWERED : f->list, udp.now);
}

/* An event may be older than its flow's end. */
static void
on_flow(struct flow *f)
{
	if (f->fd == -1)
		return;
	if (datagram_receive(f->fd, batch) == 0)
		send_down(f);
	else if (datagram_is_icmp_error(errno))
		on_refused(f);
}

/* Returns the time until the next flow expires; -1: there is none. */
static int
expire(void)
{
	const msec timeout[FLOW_LISTS] = {udp.map->times.udp_one_way,
	    udp.map->times.udp, udp.map->times.udp};
	msec left = INT32_MAX;

	for (int list = FLOW_ONE_WAY; list < FLOW_LISTS; list++) {
		struct flow *f = udp.flows.oldest[list];

		if (!timeout[list])
			continue;
		for (; f && f->last_used + timeout[list] <= udp.now;
		     f = udp.flows.oldest[list])
			end_flow(f, "idle");
		if (f && f->last_used + timeout[list] - udp.now < left)
			left = f->last_used + timeout[list] - udp.now;
	}
	return left == INT32_MAX ? -1 : (int)left;
}

static unsigned long long
counter_value(enum count counter)
{
	return atomic_load(&udp.args->count[counter]);
}

static void
log_table(void)
{
	char client[SOCKADDR_STRLEN], target[SOCKADDR_STRLEN];
	const struct flow *f;

	for (int list = FLOW_ONE_WAY; list < FLOW_LISTS; list++)
		for (f = udp.flows.oldest[list]; f; f = f->newer)
			log_open_row(sockaddr_format(&f->key.peer.sa, client),
			    sockaddr_format(&f->target.sa, target), f->up,
			    f->down, f->started_at);
	mapper_send_reply(udp.args->channel, 0);
}

/* Without its listener no flow can be answered: the drain of UDP is the end. */
static _Noreturn void
drain_and_exit(void)
{
	for (int list = FLOW_ONE_WAY; list < FLOW_LISTS; list++)
		while (udp.flows.oldest[list])
			end_flow(udp.flows.oldest[list], "stopped");
	for (size_t i = 0; i < udp.args->n_listeners; i++)
		udp.drops.overflow +=
		    datagram_rcvbuf_drops(udp.args->listeners[i].fd);
	log_info("udp map=%s flows=%llu up-datagrams=%llu down-datagrams=%llu "
		 "dropped: source=%llu limit=%llu up=%llu "
		 "down=%llu overflow=%llu",
	    udp.map->spec, counter_value(COUNT_STARTED),
	    counter_value(COUNT_SENT), counter_value(COUNT_RECEIVED),
	    udp.drops.source, udp.drops.gso_max, udp.drops.up, udp.drops.down,
	    udp.drops.overflow);
	_exit(0);
}

static void
udp_handle_command(void)
{
	enum mapper_command command = mapper_read_command(udp.args->channel);

	if (command == CMD_DUMP)
		log_table();
	else if (command != CMD_NONE)
		drain_and_exit();
}

static void
udp_loop_once(void)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(udp.epoll, ev, EVENTS, expire());

	udp.now = now_ms();
	for (int i = 0; i < n; i++) {
		uint64_t data = ev[i].data.u64;

		if (data == CHANNEL)
			udp_handle_command();
		else if (data >= LISTENER)
			on_listener((uint32_t)(data - LISTENER));
		else
			on_flow(&udp.flows.items[data]);
	}
}

static int
watch(int fd, uint64_t data)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};

	return epoll_ctl(udp.epoll, EPOLL_CTL_ADD, fd, &ev);
}

/* A flow takes a descriptor: there are no more of them than of these. */
static uint32_t
flows_of(const struct mapper_args *args)
{
	uint32_t wanted = args->map->limits.flows, n;
	rlim_t n_taken = args->n_listeners + RESERVED;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1 ||
	    limit.rlim_cur >= n_taken + wanted)
		return wanted;
	n = limit.rlim_cur > n_taken ? (uint32_t)(limit.rlim_cur - n_taken) : 1;
	log_info("'%s': %u flows, not %u: each takes an open file, and there "
		 "may be %llu (ulimit -Hn)",
	    args->map->spec, n, wanted, (unsigned long long)limit.rlim_cur);
	return n;
}

int
udp_init(const struct mapper_args *args)
{
	udp.args = args;
	udp.map = udp.to.map = args->map;
	udp.epoll = epoll_create1(EPOLL_CLOEXEC);
	batch = mmap(NULL, sizeof(*batch), PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (batch == MAP_FAILED ||
	    flow_init(&udp.flows, flows_of(args)) == -1 || udp.epoll == -1 ||
	    watch(args->channel, CHANNEL) == -1)
		return -1;
	for (size_t i = 0; i < args->n_listeners; i++)
		if (watch(args->listeners[i].fd, LISTENER + i) == -1)
			return -1;
	return 0;
}

_Noreturn void
udp_run(void)
{
	resolve_at(false);
	for (;;)
		udp_loop_once();
}
