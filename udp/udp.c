/* The mapper of a UDP map: relays datagrams between listeners and targets. */

/*
 * Theory of operation
 *
 * A flow is one client (address, port, scope) that sends to one local address
 * of one listener. It has a socket in the target namespace, connected to one
 * target address, so the target sees a client with a port of its own for as
 * long as the flow lasts. Replies leave through the listener, from the address
 * that the client has sent to.
 *
 * Flows are in a hash table by client, local address and listener, and in one
 * of three lists: one-way until the target answers, then answered, and assured
 * once the client sends after an answer. Each list is in the order of last use,
 * so that the head of each list expires first. So one timeout of epoll_wait(2)
 * serves all flows.
 *
 * When the table is full, or descriptors or ports have run out, a flow that is
 * not assured and was idle for a second makes room, so that a flood from many
 * sources cannot end flows that work. If there is none, a source with more than
 * half of all flows makes room for other sources, so that one source cannot
 * keep out the others.
 *
 * A batch from a listener is sorted into its flows before any datagram is sent,
 * so that all datagrams of one flow leave in one call. A datagram that cannot
 * be sent is counted and dropped: the mapper never waits for a socket to become
 * writable.
 *
 * The mapper never waits for a name. While the name of the preferred target is
 * looked up, the datagrams of new flows are held (hold.c); other flows go on.
 *
 * New flows prefer the next target address after one that refuses; a flow that
 * is refused moves there, too, unless the target has answered it before. The
 * names of targets are then resolved again; a flow whose address is not among
 * the new ones moves. A flow also moves from a target that has sent nothing for
 * udp-timeout= while the client was sending; new flows then prefer the target
 * that answers. route.c does all that.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/memory.h"
#include "config/map.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "mapper/rows.h"
#include "mapper/scoreboard.h"
#include "netns.h"
#include "proxy/proxy_protocol.h"
#include "udp/account.h"
#include "udp/admit.h"
#include "udp/datagram.h"
#include "udp/error.h"
#include "udp/flow.h"
#include "udp/hold.h"
#include "udp/route.h"
#include "udp/state.h"
#include "udp/udp.h"

#define EVENTS_MAX   64
#define RESERVED_FDS 16 /* besides those of listeners and flows */

/*
 * In epoll_event.data. DATA_LISTENER is added to the index of a listener; data
 * below it is the index of a flow.
 */
#define DATA_CHANNEL  UINT64_MAX
#define DATA_RESOLVER (UINT64_MAX - 1)
#define DATA_LISTENER ((uint64_t)1 << 32)

static struct udp_mapper udp;

/* Shared by all sockets, because each batch is sent before the next arrives. */
static struct batch *batch;

/* Datagrams of new flows, see targets_wait(); NULL if no target is a name. */
static struct hold *held;

/* Writes a PROXY header for a flow. Returns its length. */
static size_t
write_head(const struct flow *f, unsigned char *out)
{
	const struct flow_key *key = &f->key;
	const struct map *map = udp.map;
	const char *ns = map->listen_ns.kind == NS_SELF || map->no_proxy_netns
	    ? NULL
	    : ns_spec(&map->listen_ns);
	union sockaddr_inet local = {0};
	socklen_t size = sizeof(local);

	getsockname(udp.args->listeners[key->listener].fd, &local.sa, &size);
	if (local.sa.sa_family == AF_INET6)
		local.v6.sin6_addr = key->local;
	else
		memcpy(&local.v4.sin_addr, &key->local, 4);
	return pp_write_dgram(out, &key->peer, &local, ns);
}

/*
 * Sends the flow's datagrams of the current batch behind PROXY headers, or only
 * the first datagram that the target gets.
 */
static void
send_headed(struct flow *f, const struct send_to *to,
    struct send_result *result)
{
	struct datagram *first = f->batch_first, *rest = first->next;
	unsigned char head[PP_DGRAM_MAX];
	const bool each = !udp.map->no_proxy_each;
	struct send_to headed = *to;

	headed.head = (struct iovec){head, write_head(f, head)};
	if (each || !rest) {
		datagram_send(&headed, first, result);
	} else {
		first->next = NULL;
		datagram_send(&headed, first, result);
		first->next = rest;
		datagram_send(to, rest, result);
	}
	f->headed = !each;
}

/* Sends the flow's datagrams of the current batch. */
static struct send_result
try_send_up(struct flow *f)
{
	const struct flow_key group = {.peer = f->target};
	struct send_result result = {0};
	const struct send_to to = {
	    .fd = f->fd,
	    .family = f->target.sa.sa_family,
	    .key = f->group ? &group : NULL,
	    .gso_max = &f->up_gso_max,
	};

	if (udp.map->send_proxy && !f->headed)
		send_headed(f, &to, &result);
	else
		datagram_send(&to, f->batch_first, &result);
	return result;
}

/*
 * Sends the flow's datagrams of the current batch. Moves the flow to the next
 * target while a target refuses the first datagrams at once. Sends again, on a
 * new socket, after a route error.
 */
static struct send_result
send_to_target(struct flow *f)
{
	size_t tries = udp.targets.count;
	struct send_result result = try_send_up(f);

	if (result.refused)
		route_refused(&udp, f, true);
	while (f->up_datagrams == 0 && tries-- > 1 &&
	    datagram_refused_already(f->fd)) {
		route_refused(&udp, f, false);
		result = try_send_up(f);
	}
	if (!result.datagrams && datagram_is_route_error(result.error) &&
	    route_reconnect(&udp, f) == 0)
		result = try_send_up(f);
	return result;
}

static void
send_up(struct flow *f)
{
	struct send_result result;

	route_expect_answer(&udp, f);
	result = send_to_target(f);
	f->batch_first = NULL;
	f->up_datagrams += result.datagrams;
	f->up += result.bytes;
	account_add(&udp, COUNT_SENT, result.datagrams);
	account_add(&udp, COUNT_UP, result.bytes);
	if (result.lost)
		account_drop(&udp, DROP_UP, result.lost,
		    "not sent to the target", &f->key, result.error);
	flow_touch(&udp.flows, f,
	    f->list == FLOW_ONE_WAY ? FLOW_ONE_WAY : FLOW_ASSURED, udp.now);
}

/* Appends a datagram to the flow's batch. Returns true if it is the first. */
static bool
append_datagram(struct flow *f, struct datagram *d)
{
	bool first = !f->batch_first;

	if (first)
		f->batch_first = d;
	else
		f->batch_last->next = d;
	f->batch_last = d;
	return first;
}

/* Returns true if the datagram begins a flow that has to wait for a name. */
static bool
has_to_wait(const struct datagram *d)
{
	return held && route_waits(&udp, d->key->listener) &&
	    !flow_find(&udp.flows, d->key) && flow_may_begin(&udp, d->key);
}

static void
hold_datagram(struct datagram *d)
{
	if (!hold_add(held, d, hold_group(&d->key->peer, sizeof(d->key->peer))))
		account_drop(&udp, DROP_UP, 1,
		    "the target's name is being resolved", d->key, 0);
}

static bool
send_held(void *unused, struct datagram *d)
{
	struct flow *f = flow_find_or_admit(&udp, d->key);

	(void)unused;
	if (f) {
		f->batch_first = f->batch_last = d;
		send_up(f);
	}
	return true;
}

/* Sends the held datagrams, unless new flows still have to wait. */
static void
release_held(void)
{
	if (held && held->count && !route_any_waits(&udp))
		hold_replay(held, send_held, NULL);
}

static void
on_listener(uint32_t listener)
{
	struct flow *with_datagrams[BATCH_MSGS], *f;
	size_t n = 0;

	if (datagram_receive(udp.args->listeners[listener].fd, batch) == -1)
		return;
	targets_refresh(&udp.targets, false, udp.now);
	release_held();
	for (size_t i = 0; i < batch->count; i++) {
		struct datagram *d = &batch->datagram[i];

		d->next = NULL;
		d->key->listener = listener;
		if (has_to_wait(d)) {
			hold_datagram(d);
			continue;
		}
		f = flow_find_or_admit(&udp, d->key);
		if (f && append_datagram(f, d))
			with_datagrams[n++] = f;
	}
	while (n)
		send_up(with_datagrams[--n]);
}

static void
resolver_event(void)
{
	targets_run(&udp.targets, udp.now);
	release_held();
}

/* Sends the current batch, which the flow's socket has received. */
static void
send_down(struct flow *f)
{
	struct send_result result = {0};
	const struct send_to to = {
	    .fd = udp.args->listeners[f->key.listener].fd,
	    .family = f->key.peer.sa.sa_family,
	    .key = &f->key,
	    .gso_max = &f->down_gso_max,
	};

	datagram_send(&to, batch->datagram, &result);
	f->down_datagrams += result.datagrams;
	f->down += result.bytes;
	account_add(&udp, COUNT_RECEIVED, result.datagrams);
	account_add(&udp, COUNT_DOWN, result.bytes);
	if (result.lost)
		account_drop(&udp, DROP_DOWN, result.lost,
		    "not sent to the client", &f->key, result.error);
	route_answered(&udp, f);
	flow_touch(&udp.flows, f,
	    f->list == FLOW_ONE_WAY ? FLOW_ANSWERED : f->list, udp.now);
}

/* Ignores a free flow, which ended after epoll_wait(2) reported its event. */
static void
on_flow(struct flow *f)
{
	if (f->fd == -1)
		return;
	if (datagram_receive(f->fd, batch) == 0)
		send_down(f);
	else if (datagram_is_icmp_error(errno))
		route_refused(&udp, f, true);
}

/* Ends idle flows. Returns the msec until the next one expires; -1: none. */
static int
expire_flows(void)
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
			flow_end(&udp, f, "idle");
		if (f && f->last_used + timeout[list] - udp.now < left)
			left = f->last_used + timeout[list] - udp.now;
	}
	return left == INT32_MAX ? -1 : (int)left;
}

/* Ends all flows at once, because no reply can be sent without a listener. */
static _Noreturn void
drain_and_exit(void)
{
	for (int list = FLOW_ONE_WAY; list < FLOW_LISTS; list++)
		while (udp.flows.oldest[list])
			flow_end(&udp, udp.flows.oldest[list], "stopped");
	for (size_t i = 0; i < udp.args->n_listeners; i++)
		account_overflow(&udp, udp.args->listeners[i].fd);
	account_log_sums(&udp);
	_exit(0);
}

/* Drains at the end of the channel, and at every command but CMD_ROWS. */
static void
udp_handle_command(void)
{
	struct rows_request request;
	enum mapper_command command =
	    mapper_read_command(udp.args->channel, &request);

	if (command == CMD_ROWS)
		account_send_rows(&udp, &request);
	else if (command != CMD_NONE)
		drain_and_exit();
}

/* Returns the time until which the loop may wait, or NEVER. */
static msec
names_deadline(void)
{
	const struct target_addrs *t = &udp.targets;

	return held && held->count && t->count && t->use_old_at < t->run_at
	    ? t->use_old_at
	    : t->run_at;
}

static int
earlier(int timeout, msec deadline)
{
	int left = poll_timeout(deadline);

	return timeout == -1 || (left != -1 && left < timeout) ? left : timeout;
}

static void
udp_loop_once(void)
{
	struct epoll_event ev[EVENTS_MAX];
	int timeout = earlier(expire_flows(), names_deadline());
	int n = epoll_wait(udp.epoll, ev, EVENTS_MAX, timeout);

	udp.now = now_ms();
	if (names_deadline() <= udp.now)
		resolver_event();
	for (int i = 0; i < n; i++) {
		uint64_t data = ev[i].data.u64;

		if (data == DATA_CHANNEL)
			udp_handle_command();
		else if (data == DATA_RESOLVER)
			resolver_event();
		else if (data >= DATA_LISTENER)
			on_listener((uint32_t)(data - DATA_LISTENER));
		else
			on_flow(&udp.flows.items[data]);
	}
}

static int
watch_for_input(int fd, uint64_t data)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};

	return epoll_ctl(udp.epoll, EPOLL_CTL_ADD, fd, &ev);
}

/*
 * Undoes a connect(2) of a listener by a mapper that was hijacked. Leaves other
 * listeners alone, because connect(2) would also undo a zone.
 */
static int
disconnect(int fd)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	union sockaddr_inet peer;
	socklen_t size = sizeof(peer);

	return getpeername(fd, &peer.sa, &size) == -1
	    ? 0
	    : connect(fd, &none, sizeof(none));
}

/* Limits flows= by RLIMIT_NOFILE, because each flow has a socket. */
static uint32_t
flow_cap(const struct mapper_args *args)
{
	uint32_t wanted = args->map->limits.flows, cap;
	rlim_t reserved = args->n_listeners + RESERVED_FDS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1 ||
	    limit.rlim_cur >= reserved + wanted)
		return wanted;
	cap = limit.rlim_cur > reserved ? (uint32_t)(limit.rlim_cur - reserved)
					: 1;
	log_info("'%s': flows=%u, not %u: each takes an open file, and there "
		 "may be %llu (ulimit -Hn)",
	    args->map->spec, cap, wanted, (unsigned long long)limit.rlim_cur);
	return cap;
}

int
udp_init(const struct mapper_args *args)
{
	udp.args = args;
	udp.map = args->map;
	udp.epoll = epoll_create1(EPOLL_CLOEXEC);
	udp.now = now_ms();
	batch = memory_map(NULL, 1, sizeof(*batch), MAP_PRIVATE);
	if (!batch || flow_init(&udp.flows, flow_cap(args)) == -1 ||
	    udp.epoll == -1 ||
	    watch_for_input(args->channel, DATA_CHANNEL) == -1 ||
	    targets_init(&udp.targets, args->map, udp.epoll, DATA_RESOLVER) ==
		-1)
		return -1;
	if (udp.targets.resolver && !(held = hold_open()))
		return -1;
	for (size_t i = 0; i < args->n_listeners; i++)
		if (disconnect(args->listeners[i].fd) == -1 ||
		    watch_for_input(args->listeners[i].fd, DATA_LISTENER + i) ==
			-1)
			return -1;
	return 0;
}

_Noreturn void
udp_run(void)
{
	targets_refresh(&udp.targets, false, udp.now);
	for (;;)
		udp_loop_once();
}
