/* Where the datagrams of a UDP map go: addresses, and sockets to them. */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "udp.h"

#define RESOLVE_MS 60000 /* how long the addresses of a name are good */
#define LOST_MS    2000  /* where one of them may be wrong */
#define RETRY_MS   1000  /* where there are none */
#define SHARE      10    /* of the time, at most, a lost target has us wait */

static bool
may_move(const struct map *map)
{
	for (size_t i = 0; i < map->targets; i++)
		if (map->target[i].kind == SIDE_HOST || map->target[i].zone)
			return true;
	return false;
}

static bool
is_due(const struct candidates *c, bool lost, deadline at)
{
	deadline span = c->span * SHARE;

	if (!c->asked)
		return true;
	if (c->count && !may_move(c->map))
		return false;
	span = span < LOST_MS ? LOST_MS : span;
	if (!lost || span > RESOLVE_MS)
		span = RESOLVE_MS;
	return at - c->asked >= (c->count ? span : RETRY_MS);
}

/* Byte by byte: what an address does not use is zero. */
static bool
same_address(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(union peer)) == 0;
}

/* New flows go on to begin where they did, if that is still there. */
static void
replace(struct candidates *c, const struct candidate *fresh, uint32_t count)
{
	const struct candidate old = c->candidate[c->current];

	memcpy(c->candidate, fresh, count * sizeof(*fresh));
	c->count = count;
	for (c->current = 0; c->current < count; c->current++)
		if (same_address(&fresh[c->current].addr, &old.addr))
			return;
	c->current = 0;
}

bool
candidates_resolve(struct candidates *c, bool lost)
{
	struct candidate fresh[CANDIDATES_MAX];
	deadline begin = now();
	size_t n;

	if (!is_due(c, lost, begin))
		return false;
	memset(fresh, 0, sizeof(fresh));
	n = dial_candidates(c->map, fresh, CANDIDATES_MAX);
	if (n)
		replace(c, fresh, (uint32_t)n);
	else
		log_limited("'%s': no target address: %s", c->map->word,
		    log_errno(errno));
	c->asked = now();
	c->span = c->asked - begin;
	return true;
}

/* The port lies at the same place in the addresses of both families. */
static socklen_t
address(const struct candidates *c, uint32_t i, uint16_t index,
    union peer *addr)
{
	const struct candidate *to = &c->candidate[i];
	const struct side *side = &c->map->target[to->target];

	memset(addr, 0, sizeof(*addr));
	memcpy(addr, &to->addr, to->length);
	if (side->lo != side->hi)
		addr->six.sin6_port = htons((uint16_t)(side->lo + index));
	return to->length;
}

uint32_t
candidates_find(const struct candidates *c, const union peer *addr,
    uint16_t index)
{
	union peer other;

	for (uint32_t i = 0; i < c->count; i++) {
		address(c, i, index, &other);
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
	datagram_prepare(fd, family, false, !map->plain);
	if (broadcast)
		setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &broadcast,
		    sizeof(broadcast));
	return dial_prepare(fd, map, family) == 0 ? fd : dial_give_up(fd);
}

/* What came in while connect(2) was at work may be of strangers. */
static int
open_connected(const struct map *map, const union peer *to, socklen_t length,
    bool broadcast)
{
	int fd = open_socket(map, to->any.sa_family, broadcast);
	char byte;

	if (fd == -1)
		return -1;
	if (connect(fd, &to->any, length) == -1)
		return dial_give_up(fd);
	for (int i = 0; i < BATCH && recv(fd, &byte, 1, 0) != -1; i++)
		;
	if (!dial_met_itself(fd, to, length))
		return fd;
	errno = ECONNREFUSED;
	return dial_give_up(fd);
}

static bool
is_multicast(const union peer *addr)
{
	return addr->any.sa_family == AF_INET
	    ? IN_MULTICAST(ntohl(addr->four.sin_addr.s_addr))
	    : IN6_IS_ADDR_MULTICAST(&addr->six.sin6_addr);
}

/*
 * Which addresses are broadcast ones the routes know: connect(2) says EACCES
 * to a socket that may not send there.
 */
static int
open_one(const struct candidates *c, uint32_t i, uint16_t index,
    union peer *addr, bool *group)
{
	socklen_t length = address(c, i, index, addr);
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
	return open_socket(c->map, addr->any.sa_family, broadcast);
}

int
candidates_open(const struct candidates *c, uint32_t first, uint16_t index,
    union peer *addr, bool *group)
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
