/* Resolves the targets of a UDP map, and opens sockets to them. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/log.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/resolve.h"
#include "udp/datagram.h"
#include "udp/target.h"

#define RESOLVE_MS      60000 /* until names are resolved again */
#define RESOLVE_LOST_MS 2000  /* until then, if a flow has lost its target */
#define RETRY_MS        1000  /* until then, if there are no addresses */
#define RESOLVE_SHARE   10    /* resolving takes 1/10 of the time, at most */

static bool
addrs_may_change(const struct map *map)
{
	for (size_t i = 0; i < map->n_targets; i++)
		if (map->targets[i].kind == EP_HOST || map->targets[i].zone)
			return true;
	return false;
}

static msec
resolve_interval(const struct target_addrs *t, bool lost)
{
	msec interval = t->resolve_duration * RESOLVE_SHARE;

	if (!t->count)
		return RETRY_MS;
	if (!lost || interval > RESOLVE_MS)
		return RESOLVE_MS;
	return interval < RESOLVE_LOST_MS ? RESOLVE_LOST_MS : interval;
}

static bool
is_resolve_due(const struct target_addrs *t, bool lost, msec now)
{
	if (!t->resolved_at)
		return true;
	if (t->count && !addrs_may_change(t->map))
		return false;
	return now - t->resolved_at >= resolve_interval(t, lost);
}

/* Compares bytes, because unused bytes of an address are zero. */
static bool
is_same_addr(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(union sockaddr_inet)) == 0;
}

/*
 * Replaces the addresses. The preferred address stays preferred, if it is still
 * among them.
 */
static void
replace_addrs(struct target_addrs *t, const struct target_addr *fresh,
    uint32_t count)
{
	const struct target_addr old = t->items[t->preferred];

	memcpy(t->items, fresh, count * sizeof(*fresh));
	t->count = count;
	for (t->preferred = 0; t->preferred < count; t->preferred++)
		if (is_same_addr(&fresh[t->preferred].addr, &old.addr))
			return;
	t->preferred = 0;
}

bool
targets_resolve(struct target_addrs *t, bool lost)
{
	struct target_addr fresh[TARGET_ADDRS_MAX];
	const msec began_at = now_ms();
	size_t n;

	if (!is_resolve_due(t, lost, began_at))
		return false;
	memset(fresh, 0, sizeof(fresh));
	n = resolve_targets(t->map, fresh, TARGET_ADDRS_MAX);
	if (n)
		replace_addrs(t, fresh, (uint32_t)n);
	else
		log_ratelimited("'%s': no target address: %s", t->map->spec,
		    errno_name(errno));
	t->resolved_at = now_ms();
	t->resolve_duration = t->resolved_at - began_at;
	return true;
}

/* Sets the port through sockaddr_in6, because sockaddr_in has it there too. */
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
 * Discards what the socket received before connect(2), because anybody can have
 * sent it.
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
 * Finds broadcast addresses by the EACCES of connect(2), because only the
 * routes tell them from others.
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
