/* Resolves the targets of a UDP map, and opens sockets to them. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/log.h"
#include "base/memory.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/resolve.h"
#include "dns/resolver.h"
#include "mapper/target_state.h"
#include "proxy/reach.h"
#include "udp/datagram.h"
#include "udp/error.h"
#include "udp/flow.h"
#include "udp/names.h"
#include "udp/target.h"

#define REFRESH_MS 1000 /* until addresses are brought up to date again */
#define DOUBT_MS   2000 /* until names are looked up again for a lost flow */
#define OLD_MS     1000 /* of a look-up, until new flows use old addresses */

int
targets_init(struct target_addrs *t, const struct map *map, int epoll,
    uint64_t data)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};

	t->map = map;
	t->run_at = NEVER;
	t->preferred = memory_map(NULL, map_ports(map), sizeof(*t->preferred),
	    MAP_PRIVATE);
	if (!t->preferred)
		return -1;
	if (!resolver_source())
		return 0;
	t->resolver = names_open();
	return t->resolver
	    ? epoll_ctl(epoll, EPOLL_CTL_ADD, t->resolver->epfd, &ev)
	    : -1;
}

static bool
addrs_may_change(const struct map *map)
{
	for (size_t i = 0; i < map->n_targets; i++)
		if (map->targets[i].kind == EP_HOST || map->targets[i].zone)
			return true;
	return false;
}

/* Compares bytes, because unused bytes of an address are zero. */
static bool
is_same_addr(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(union sockaddr_inet)) == 0;
}

/* Returns the index of an address among others, or 0. */
static uint8_t
new_index(const struct target_addr *old, const struct target_addr *fresh,
    uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (is_same_addr(&fresh[i].addr, &old->addr))
			return (uint8_t)i;
	return 0;
}

/*
 * Replaces the addresses. A preferred address stays preferred, if it is still
 * among them.
 */
static void
replace_addrs(struct target_addrs *t, const struct target_addr *fresh,
    uint32_t count)
{
	uint8_t moved[TARGET_ADDRS_MAX];

	for (uint32_t i = 0; i < TARGET_ADDRS_MAX; i++)
		moved[i] = new_index(&t->items[i], fresh, count);
	for (uint32_t port = 0; port < map_ports(t->map); port++)
		t->preferred[port] = moved[t->preferred[port]];
	memcpy(t->items, fresh, count * sizeof(*fresh));
	t->count = count;
}

/* Copies the addresses that a target has. Returns how many. */
static size_t
copy_old(const struct target_addrs *t, size_t target, struct target_addr *out,
    size_t max)
{
	size_t n = 0;

	for (uint32_t i = 0; i < t->count && n < max; i++)
		if (t->items[i].target == target)
			out[n++] = t->items[i];
	return n;
}

/* Writes the addresses of a target that is a host name. Returns how many. */
static size_t
resolve_target(struct target_addrs *t, size_t target, struct target_addr *out,
    size_t max, msec now)
{
	const struct endpoint *ep = &t->map->targets[target];
	const struct dns_result *result;
	enum dns_status status =
	    dns_resolver_ask(t->resolver, ep->name, now, &result);
	size_t n = 0;

	if (status != DNS_PENDING)
		t->failing = status != DNS_OK;
	if (status == DNS_OK) {
		n = resolve_result(out, max, result, ep->port_first);
	} else if (status == DNS_PENDING) {
		t->pending |= (uint64_t)1 << target;
		n = copy_old(t, target, out, max);
	} else {
		names_log(t->map, ep->name, result);
		if (status != DNS_NO_NAME && status != DNS_NO_ADDRESS)
			n = copy_old(t, target, out, max);
	}
	return n;
}

static size_t
get_literals(const struct map *map, const struct endpoint *ep,
    struct target_addr *out, size_t max)
{
	size_t n = 0, count = literal_count(ep);

	while (n < count && n < max && literal_addr(&out[n], ep, 0, n) == 0)
		n++;
	if (!n)
		log_ratelimited("'%s': no target address: %s", map->spec,
		    errno_name(errno));
	return n;
}

static size_t
get_addrs(struct target_addrs *t, size_t target, struct target_addr *out,
    size_t max, msec now)
{
	const struct endpoint *ep = &t->map->targets[target];
	size_t n = ep->kind == EP_HOST
	    ? resolve_target(t, target, out, max, now)
	    : get_literals(t->map, ep, out, max);

	for (size_t i = 0; i < n; i++)
		out[i].target = (uint32_t)target;
	return n;
}

/* Doubts all names, at most once in DOUBT_MS. Returns false if too early. */
static bool
doubt_names(struct target_addrs *t, msec now)
{
	if (!t->resolver || (t->doubted_at && now - t->doubted_at < DOUBT_MS))
		return false;
	t->doubted_at = now;
	for (size_t i = 0; i < t->map->n_targets; i++)
		if (t->map->targets[i].kind == EP_HOST)
			dns_resolver_doubt(t->resolver, t->map->targets[i].name,
			    0);
	return true;
}

static bool
is_refresh_due(const struct target_addrs *t, msec now)
{
	if (!t->refreshed_at)
		return true;
	if (t->count && !addrs_may_change(t->map))
		return false;
	return now - t->refreshed_at >= REFRESH_MS;
}

/*
 * Sets use_old_at when look-ups begin: OLD_MS later, but at once if the last
 * look-up failed.
 */
static void
note_pending(struct target_addrs *t, uint64_t before, msec now)
{
	if (!t->pending)
		t->use_old_at = NEVER;
	else if (!before)
		t->use_old_at = now + (t->failing ? 0 : OLD_MS);
}

static void
collect_addrs(struct target_addrs *t, msec now)
{
	struct target_addr fresh[TARGET_ADDRS_MAX];
	const uint64_t before = t->pending;
	size_t n = 0;

	memset(fresh, 0, sizeof(fresh));
	t->pending = 0;
	for (size_t i = 0; i < t->map->n_targets; i++)
		n += get_addrs(t, i, fresh + n, TARGET_ADDRS_MAX - n, now);
	if (n)
		replace_addrs(t, fresh, (uint32_t)n);
	note_pending(t, before, now);
	t->refreshed_at = now;
	if (t->resolver)
		t->run_at = dns_resolver_deadline(t->resolver);
}

void
targets_refresh(struct target_addrs *t, bool lost, msec now)
{
	if (map_is_original(t->map))
		return;
	if ((lost && doubt_names(t, now)) || is_refresh_due(t, now))
		collect_addrs(t, now);
}

bool
targets_run(struct target_addrs *t, msec now)
{
	bool changed = dns_resolver_run(t->resolver);

	if (changed)
		collect_addrs(t, now);
	t->run_at = dns_resolver_deadline(t->resolver);
	return changed;
}

bool
targets_wait(const struct target_addrs *t, uint16_t port_index, msec now)
{
	if (!t->count)
		return t->pending != 0;
	return (t->pending >> t->items[t->preferred[port_index]].target & 1) !=
	    0 &&
	    now < t->use_old_at;
}

/* Sets the port of both families alike, because it has the same offset. */
static socklen_t
get_addr(const struct target_addrs *t, uint32_t i, uint16_t port_index,
    union sockaddr_inet *addr)
{
	const struct target_addr *item = &t->items[i];
	const struct endpoint *ep = &t->map->targets[item->target];

	memset(addr, 0, sizeof(*addr));
	memcpy(addr, &item->addr, item->length);
	if (ep->port_first != ep->port_last)
		addr->v6.sin6_port =
		    htons((uint16_t)(ep->port_first + port_index));
	return item->length;
}

uint32_t
targets_find_address(const struct target_addrs *t,
    const union sockaddr_inet *addr, uint16_t port_index)
{
	union sockaddr_inet other;

	for (uint32_t i = 0; i < t->count; i++) {
		get_addr(t, i, port_index, &other);
		if (is_same_addr(&other, addr))
			return i;
	}
	return t->count;
}

void
targets_first_address(const struct target_addrs *t, uint32_t target,
    uint16_t port_index, union sockaddr_inet *addr)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (t->items[i].target == target &&
		    t->map->targets[target].kind == EP_LOOPBACK) {
			get_addr(t, i, port_index, addr);
			return;
		}
}

static int
open_target_socket(const struct map *map, int family, int broadcast)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	datagram_set_options(fd, family, false, !map->no_offload);
	if (broadcast)
		setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &broadcast,
		    sizeof(broadcast));
	return set_source_options(fd, map, family) == 0 ? fd
							: close_keep_errno(fd);
}

/*
 * Opens a socket that is connected to the address. Discards the datagrams that
 * came before connect(2), because any host may have sent them.
 */
static int
open_connected(const struct map *map, const union sockaddr_inet *addr,
    socklen_t length, bool broadcast)
{
	int fd = open_target_socket(map, addr->sa.sa_family, broadcast);
	char byte;

	if (fd == -1)
		return -1;
	if (connect(fd, &addr->sa, length) == -1)
		return close_keep_errno(fd);
	for (int i = 0; i < BATCH_MSGS && recv(fd, &byte, 1, 0) != -1; i++)
		;
	if (!is_self_connected(fd, addr, length))
		return fd;
	errno = ECONNREFUSED;
	return close_keep_errno(fd);
}

static bool
is_multicast(const union sockaddr_inet *addr)
{
	return addr->sa.sa_family == AF_INET
	    ? IN_MULTICAST(ntohl(addr->v4.sin_addr.s_addr))
	    : IN6_IS_ADDR_MULTICAST(&addr->v6.sin6_addr);
}

/*
 * Opens a socket to address i. Recognizes a broadcast address by EACCES of
 * connect(2), because only the routes tell which addresses are broadcast.
 */
static int
open_addr(const struct target_addrs *t, uint32_t i, uint16_t port_index,
    union sockaddr_inet *addr, bool *group)
{
	socklen_t length = get_addr(t, i, port_index, addr);
	bool broadcast = false;
	int fd = open_connected(t->map, addr, length, false);

	if (fd == -1 && errno == EACCES) {
		fd = open_connected(t->map, addr, length, true);
		broadcast = fd != -1;
	}
	*group = broadcast || is_multicast(addr);
	if (fd == -1 || !*group)
		return fd;
	close(fd);
	return open_target_socket(t->map, addr->sa.sa_family, broadcast);
}

void
targets_original(const struct flow_key *key, uint16_t port,
    union sockaddr_inet *addr)
{
	*addr = (union sockaddr_inet){.sa.sa_family = key->peer.sa.sa_family};
	addr->v4.sin_port = htons(port);
	if (addr->sa.sa_family == AF_INET)
		memcpy(&addr->v4.sin_addr, &key->local, 4);
	else
		addr->v6.sin6_addr = key->local;
}

/* Without an address of its own the listener has those of loopback. */
static bool
is_listener_addr(const struct map *map, const struct flow_key *key)
{
	const uint32_t loopback = htonl(INADDR_LOOPBACK);

	if (!IN6_IS_ADDR_UNSPECIFIED(&map->listen.addr))
		return IN6_ARE_ADDR_EQUAL(&key->local, &map->listen.addr);
	return key->peer.sa.sa_family == AF_INET
	    ? memcmp(&key->local, &loopback, sizeof(loopback)) == 0
	    : IN6_IS_ADDR_LOOPBACK(&key->local);
}

int
targets_open_original(const struct map *map, const struct flow_key *key,
    uint16_t port, union sockaddr_inet *addr)
{
	targets_original(key, port, addr);
	/* A datagram to the listener itself would come back to it. */
	if (!reach_allows(map, addr) || is_listener_addr(map, key))
		return fail_errno(EACCES);
	return open_connected(map, addr,
	    addr->sa.sa_family == AF_INET ? sizeof(addr->v4) : sizeof(addr->v6),
	    false);
}

int
targets_open(const struct target_addrs *t, uint32_t first, uint16_t port_index,
    union sockaddr_inet *addr, bool *group)
{
	int fd = -1, error = 0;

	for (uint32_t i = 0; i < t->count && fd == -1; i++) {
		fd = open_addr(t, (first + i) % t->count, port_index, addr,
		    group);
		if (!error || (fd == -1 && datagram_exhausted(errno)))
			error = errno;
		if (datagram_exhausted(error))
			break;
	}
	errno = error;
	return fd;
}
