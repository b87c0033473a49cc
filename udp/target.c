/* Where the datagrams of a UDP map go: addresses, and sockets to them. */

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
#include "base/log.h"
#include "base/sock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/resolve.h"
#include "udp/datagram.h"
#include "udp/target.h"

#define RESOLVE_MS 60000 /* how long the addresses of a name are good */
#define LOST_MS    2000  /* where one of them may be wrong */
#define RETRY_MS   1000  /* where there are none */
#define SHARE      10    /* of the time, at most, a lost target has us wait */

static bool
may_move(const struct map *map)
{
	for (size_t i = 0; i < map->n_targets; i++)
		if (map->targets[i].kind == EP_HOST || map->targets[i].zone)
			return true;
	return false;
}

static bool
is_due(const struct candidates *c, bool lost, msec at)
{
	msec timeout = c->span * SHARE;

	if (!c->asked)
		return true;
	if (c->count && !may_move(c->map))
		return false;
	timeout = timeout < LOST_MS ? LOST_MS : timeout;
	if (!lost || timeout > RESOLVE_MS)
		timeout = RESOLVE_MS;
	return at - c->asked >= (c->count ? timeout : RETRY_MS);
}

/* Byte by byte: what an address does not use is zero. */
static bool
same_address(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(union sockaddr_inet)) == 0;
}

/* New flows go on to begin where they did, if that is still there. */
static void
replace(struct candidates *c, const struct target_addr *fresh, uint32_t count)
{
	const struct target_addr old = c->addr_index[c->current];

	memcpy(c->addr_index, fresh, count * sizeof(*fresh));
	c->count = count;
	for (c->current = 0; c->current < count; c->current++)
		if (same_address(&fresh[c->current].addr, &old.addr))
			return;
	c->current = 0;
}

bool
targets_resolve(struct candidates *c, bool lost)
{
	struct target_addr fresh[CANDIDATES_MAX];
	msec connect_to = now_ms();
	size_t n;

	if (!is_due(c, lost, connect_to))
		return false;
	memset(fresh, 0, sizeof(fresh));
	n = resolve_targets(c->map, fresh, CANDIDATES_MAX);
	if (n)
		replace(c, fresh, (uint32_t)n);
	else
		log_ratelimited("'%s': no target address: %s", c->map->spec,
		    errno_name(errno));
	c->asked = now_ms();
	c->span = c->asked - connect_to;
	return true;
}

/* The port lies at the same place in the addresses of both families. */
static socklen_t
address_of(const struct candidates *c, uint32_t i, uint16_t index,
    union sockaddr_inet *addr)
{
	const struct target_addr *to = &c->addr_index[i];
	const struct endpoint *ep = &c->map->targets[to->target];

	memset(addr, 0, sizeof(*addr));
	memcpy(addr, &to->addr, to->length);
	if (ep->port_first != ep->port_last)
		addr->v6.sin6_port = htons((uint16_t)(ep->port_first + index));
	return to->length;
}

uint32_t
targets_find_address(const struct candidates *c,
    const union sockaddr_inet *addr, uint16_t index)
{
	union sockaddr_inet other;

	for (uint32_t i = 0; i < c->count; i++) {
		address_of(c, i, index, &other);
		if (same_address(&other, addr))
			return i;
	}
	return c->count;
}

static int
open_socket(const struct map *map, int family, int broadcast)
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

/* What came in while connect(2) was at work may be of strangers. */
static int
open_connected(const struct map *map, const union sockaddr_inet *to,
    socklen_t length, bool broadcast)
{
	int fd = open_socket(map, to->sa.sa_family, broadcast);
	char byte;

	if (fd == -1)
		return -1;
	if (connect(fd, &to->sa, length) == -1)
		return close_keep_errno(fd);
	for (int i = 0; i < BATCH && recv(fd, &byte, 1, 0) != -1; i++)
		;
	if (!is_self_connected(fd, to, length))
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
 * Which addresses are broadcast ones the routes know: connect(2) says EACCES
 * to a socket that may not send there.
 */
static int
open_one(const struct candidates *c, uint32_t i, uint16_t index,
    union sockaddr_inet *addr, bool *group)
{
	socklen_t length = address_of(c, i, index, addr);
	bool broadcast = false;
	int fd = open_connected(c->map, addr, length, false);

	if (fd == -1 && errno == EACCES) {
		fd = open_connected(c->map, addr, length, true);
		broadcast = fd != -1;
	}
	*group = broadcast || is_multicast(addr);
	if (fd == -1 || !*group)
		return fd;
	close(fd);
	return open_socket(c->map, addr->sa.sa_family, broadcast);
}

int
targets_open_socket(const struct candidates *c, uint32_t first, uint16_t index,
    union sockaddr_inet *addr, bool *group)
{
	int fd = -1, error = 0;

	for (uint32_t i = 0; i < c->count && fd == -1; i++) {
		fd = open_one(c, (first + i) % c->count, index, addr, group);
		if (!error || (fd == -1 && datagram_exhausted(errno)))
			error = errno;
		if (datagram_exhausted(error))
			break;
	}
	errno = error;
	return fd;
}
