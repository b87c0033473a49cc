/* Resolves and connects, in the namespace it is in, until a deadline. */

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "hop.h"
#include "io.h"
#include "nsfwd.h"

#define RETRY_MS      10 /* while a UNIX listener's backlog is full */
#define ADDRESSES_MAX 16 /* of one host name that are tried */

static socklen_t
inet_address(struct sockaddr_storage *addr, const void *four, uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
	    .sin_port = htons(port)};

	memcpy(&in.sin_addr, four, sizeof(in.sin_addr));
	memcpy(addr, &in, sizeof(in));
	return sizeof(in);
}

static socklen_t
inet6_address(struct sockaddr_storage *addr, const struct in6_addr *sixteen,
    const char *zone, uint16_t port)
{
	struct sockaddr_in6 in6 = {
	    .sin6_family = AF_INET6,
	    .sin6_port = htons(port),
	    .sin6_addr = *sixteen,
	};

	if (zone) {
		in6.sin6_scope_id = if_nametoindex(zone);
		if (!in6.sin6_scope_id) {
			errno = ENODEV;
			return 0;
		}
	}
	memcpy(addr, &in6, sizeof(in6));
	return sizeof(in6);
}

/* An abstract name begins with a zero byte and counts to its last, unix(7). */
static socklen_t
unix_address(struct sockaddr_storage *addr, const struct side *side)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t skip = side->kind == SIDE_ABSTRACT;
	size_t length = strlen(side->text);

	if (skip + length >= sizeof(un.sun_path)) {
		errno = ENAMETOOLONG;
		return 0;
	}
	memcpy(un.sun_path + skip, side->text, length);
	memcpy(addr, &un, sizeof(un));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
}

socklen_t
dial_address(struct sockaddr_storage *addr, const struct side *side,
    unsigned index, int family)
{
	const uint32_t loopback = htonl(INADDR_LOOPBACK), any = 0;
	uint16_t port = (uint16_t)(side->lo + index);

	memset(addr, 0, sizeof(*addr));
	switch (side->kind) {
	case SIDE_LOOPBACK:
		if (family == AF_INET)
			return inet_address(addr, &loopback, port);
		return inet6_address(addr, &in6addr_loopback, NULL, port);
	case SIDE_ANY:
		if (family == AF_INET)
			return inet_address(addr, &any, port);
		return inet6_address(addr, &in6addr_any, NULL, port);
	case SIDE_INET:
		return inet_address(addr, &side->addr, port);
	case SIDE_INET6:
		return inet6_address(addr, &side->addr, side->zone, port);
	case SIDE_PATH:
	case SIDE_ABSTRACT:
		return unix_address(addr, side);
	case SIDE_HOST:
	case SIDE_SYSTEMD:
	case SIDE_PROXY:
	case SIDE_STDIO:
		break;
	}
	errno = EINVAL;
	return 0;
}

deadline
dial_until(const struct map *map, deadline from)
{
	return map->times.connect ? from + map->times.connect : NEVER;
}

/* The time for the next of so many attempts, each with an even share. */
static deadline
share(deadline until, size_t left)
{
	deadline at;

	if (until == NEVER || left == 1)
		return until;
	at = now();
	return at >= until ? until : at + (until - at) / (deadline)left;
}

/*
 * connect(2). One over loopback has been decided by the time that it is asked for
 * again, which spares a wait.
 */
static int
connect_twice(int fd, const void *addr, socklen_t length)
{
	int result = connect(fd, addr, length);

	if (result == -1 && (errno == EINPROGRESS || errno == EINTR))
		result = connect(fd, addr, length);
	return result;
}

/*
 * Waits until the connect is decided. The client is watched for a reset only:
 * its end of stream may lie behind a request that wants an answer.
 */
static int
await(const struct line *line)
{
	socklen_t length = sizeof(errno);
	int error;

	if (hop_wait(line, POLLOUT) == -1 ||
	    getsockopt(line->fd, SOL_SOCKET, SO_ERROR, &error, &length) == -1)
		return -1;
	errno = error;
	return error ? -1 : 0;
}

/*
 * With nobody listening on a port of the ephemeral range, connect(2) may pick
 * that port as its own and meet itself.
 */
bool
dial_met_itself(int fd, const void *peer, socklen_t length)
{
	struct sockaddr_storage own;
	socklen_t size = sizeof(own);
	void *p = &own;

	memset(&own, 0, sizeof(own));
	return getsockname(fd, p, &size) == 0 && size == length &&
	    own.ss_family != AF_UNIX && memcmp(&own, peer, length) == 0;
}

bool
dial_reset(int client)
{
	struct pollfd watched = {.fd = client};

	if (poll(&watched, 1, 0) != 1 || !(watched.revents & POLLERR))
		return false;
	errno = ECONNABORTED;
	return true;
}

/* A full backlog is EAGAIN on a UNIX socket, with no event to wait for. */
static int
start_connect(const struct line *line, const struct candidate *to)
{
	const void *addr = &to->addr;

	while (connect_twice(line->fd, addr, to->length) == -1) {
		if (errno == EALREADY || errno == EINPROGRESS || errno == EINTR)
			return await(line);
		if (errno != EAGAIN || to->addr.ss_family != AF_UNIX ||
		    dial_reset(line->client))
			return -1;
		errno = ETIMEDOUT;
		if (io_timeout(line->until) == 0)
			return -1;
		poll(NULL, 0, RETRY_MS);
	}
	return 0;
}

int
dial_give_up(int fd)
{
	int saved = errno;

	close(fd);
	errno = saved;
	return -1;
}

int
dial_prepare(int fd, const struct map *map, int family)
{
	const int on = 1;
	struct sockaddr_storage own;
	void *addr = &own;
	socklen_t length;

	if (family == AF_UNIX)
		return 0;
	if (map->dev &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, map->dev,
		(socklen_t)strlen(map->dev)) == -1)
		return -1;
	if (map->mark &&
	    setsockopt(fd, SOL_SOCKET, SO_MARK, &map->mark,
		sizeof(map->mark)) == -1)
		return -1;
	if (map->src.kind == SIDE_ANY)
		return 0;
	length = dial_address(&own, &map->src, 0, AF_UNSPEC);
	if (length && own.ss_family != family)
		errno = EAFNOSUPPORT;
	if (!length || own.ss_family != family)
		return -1;
	/* The port is chosen by connect(2), which knows the other end. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	return bind(fd, addr, length);
}

/* What is given up is reset: the target must not see an empty, clean end. */
static int
attempt(const struct call *call, const struct candidate *to, deadline until)
{
	struct line line = {.client = call->client, .until = until};
	int family = to->addr.ss_family;

	if (dial_reset(call->client))
		return -1;
	line.fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (line.fd == -1)
		return -1;
	relay_prepare(line.fd);
	if (dial_prepare(line.fd, call->map, family) == -1 ||
	    start_connect(&line, to) == -1)
		return dial_give_up(line.fd);
	if (!dial_met_itself(line.fd, &to->addr, to->length))
		return line.fd;
	errno = ECONNREFUSED;
	return dial_give_up(line.fd);
}

/*
 * getaddrinfo(3) knows no deadline. A timer that nobody handles ends the
 * process in its stead, which resets the client, as a failed dial does; the
 * tally tells the mapper what it was.
 */
static void
set_timer(deadline until)
{
	struct itimerval timer = {0};
	int span = io_timeout(until);

	if (span == -1)
		return;
	span = span ? span : 1;
	timer.it_value.tv_sec = span / 1000;
	timer.it_value.tv_usec = span % 1000 * 1000L;
	setitimer(ITIMER_REAL, &timer, NULL);
}

static size_t
resolve(const struct side *target, unsigned index, int type,
    struct candidate *out, size_t max)
{
	const struct addrinfo hints = {.ai_socktype = type};
	struct addrinfo *list, *ai;
	char port[8];
	size_t n = 0;
	int error;

	snprintf(port, sizeof(port), "%u", target->lo + index);
	error = getaddrinfo(target->text, port, &hints, &list);
	if (error) {
		errno = error == EAI_SYSTEM ? errno : error;
		return 0;
	}
	for (ai = list; ai && n < max && n < ADDRESSES_MAX; ai = ai->ai_next) {
		memset(&out[n].addr, 0, sizeof(out[n].addr));
		memcpy(&out[n].addr, ai->ai_addr, ai->ai_addrlen);
		out[n++].length = ai->ai_addrlen;
	}
	freeaddrinfo(list);
	return n;
}

/* Without an address it is 127.0.0.1, then ::1. 0 with errno, as resolve(). */
static size_t
addresses(const struct side *target, unsigned index, int type,
    struct candidate *out, size_t max)
{
	static const int families[] = {AF_INET, AF_INET6};
	size_t n = 0, wanted = target->kind == SIDE_LOOPBACK ? 2 : 1;

	if (target->kind == SIDE_HOST)
		return resolve(target, index, type, out, max);
	for (; n < wanted && n < max; n++) {
		out[n].length =
		    dial_address(&out[n].addr, target, index, families[n]);
		if (!out[n].length)
			break;
	}
	return n;
}

size_t
dial_candidates(const struct map *map, struct candidate *out, size_t max)
{
	size_t n = 0, more;

	for (size_t i = 0; i < map->targets; i++) {
		more =
		    addresses(&map->target[i], 0, SOCK_DGRAM, out + n, max - n);
		while (more--)
			out[n++].target = (uint32_t)i;
	}
	return n;
}

static bool
permits_four(const void *addr)
{
	/* Of Alibaba, Oracle and Azure; the rest is link-local. */
	static const unsigned char metadata[][4] = {
	    {100, 100, 100, 200},
	    {192, 0, 0, 192},
	    {168, 63, 129, 16},
	};
	const unsigned char *byte = addr;

	for (size_t i = 0; i < sizeof(metadata) / 4; i++)
		if (memcmp(byte, metadata[i], 4) == 0)
			return false;
	return byte[0] != 0 && byte[0] != 127 && byte[0] < 224 &&
	    (byte[0] != 169 || byte[1] != 254);
}

static bool
permits_six(const struct in6_addr *addr)
{
	/* Of Amazon, Google and Oracle. */
	static const struct in6_addr none,
	    metadata[] = {
		{.s6_addr = {0xfd, 0, 0x0e, 0xc2, [14] = 0x02, 0x54}},
		{.s6_addr = {0xfd, 0x20, 0, 0xce, [14] = 0x02, 0x54}},
		{.s6_addr = {0xfd, 0, 0, 0xc1, [12] = 169, 254, 169, 254}},
	    };
	static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b};

	for (size_t i = 0; i < sizeof(metadata) / sizeof(metadata[0]); i++)
		if (IN6_ARE_ADDR_EQUAL(addr, &metadata[i]))
			return false;
	if (memcmp(addr, nat64, sizeof(nat64)) == 0)
		return permits_four(&addr->s6_addr[sizeof(nat64)]);
	return memcmp(addr, &none, 10) != 0 && !IN6_IS_ADDR_LINKLOCAL(addr) &&
	    !IN6_IS_ADDR_MULTICAST(addr);
}

/*
 * What would reach the namespace's own loopback, a neighbour's metadata or
 * many at once is not for strangers. The address counts, not its name.
 */
bool
dial_permits(const struct map *map, const void *addr)
{
	union peer peer;

	memcpy(&peer, addr, sizeof(peer));
	if (side_match(&map->reach, &peer))
		return true;
	return peer.any.sa_family == AF_INET ? permits_four(&peer.four.sin_addr)
					     : peer.any.sa_family == AF_INET6 &&
		permits_six(&peer.six.sin6_addr);
}

/* Through the other hops, then who the client is. */
static int
introduce(const struct call *call, int fd, const struct side *target,
    unsigned index, deadline until)
{
	const struct map *map = call->map;
	const struct line line = {fd, call->client, until};
	const char *ns = map->from.kind == NS_SELF ? NULL : ns_word(&map->from);
	unsigned char header[HEADER_SIZE];
	size_t length;

	for (size_t i = 0; i < map->hops; i++) {
		bool last = i + 1 == map->hops;
		const struct side *to = last ? target : &map->hop[i + 1].side;

		if (hop_through(&line, &map->hop[i], to, last ? index : 0,
			&call->tally->code) == -1)
			return -1;
	}
	if (!map->header)
		return 0;
	length = header_make(header, map->header, &call->from, &call->to, ns);
	return hop_write(&line, header, length);
}

static size_t
look_up(const struct side *side, unsigned index, deadline until,
    struct tally *tally, struct candidate *list)
{
	bool name = side->kind == SIDE_HOST;
	size_t n;

	if (name) {
		tally->resolving = 1;
		set_timer(until);
	}
	n = addresses(side, index, SOCK_STREAM, list, ADDRESSES_MAX);
	if (name)
		setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	tally->resolving = 0;
	return n;
}

/*
 * The error of its first address is the one that counts, and is named; that of
 * a hop is not the target's.
 */
static int
dial_target(const struct call *call, const struct side *target, unsigned index,
    deadline until)
{
	const struct map *map = call->map;
	struct candidate list[ADDRESSES_MAX];
	int fd = -1, error = 0;
	size_t n = map->hops
	    ? look_up(&map->hop[0].side, 0, until, call->tally, list)
	    : look_up(target, index, until, call->tally, list);

	if (n == 0)
		return -1;
	for (size_t i = 0; i < n && fd == -1 && error != ECONNABORTED; i++) {
		errno = EACCES;
		if (map->hops || !call->asked ||
		    dial_permits(map, &list[i].addr))
			fd = attempt(call, &list[i], share(until, n - i));
		if (i == 0 || errno == ECONNABORTED)
			error = errno;
		if ((i == 0 || fd != -1) && !map->hops &&
		    list[i].addr.ss_family != AF_UNIX)
			memcpy(&call->tally->peer, &list[i].addr,
			    list[i].length);
	}
	errno = error;
	if (fd != -1 && introduce(call, fd, target, index, until) == -1)
		return dial_give_up(fd);
	return fd;
}

size_t
dial_first(const struct call *call)
{
	size_t n = call->map->targets;
	const union peer *from = &call->from;
	const unsigned char *addr = (const void *)&from->six.sin6_addr;
	uint64_t hash = 14695981039346656037U; /* FNV-1a */
	size_t length = 16;

	if (call->map->balance == BALANCE_ROUND)
		return call->turn % n;
	if (call->map->balance == BALANCE_FIRST)
		return 0;
	if (from->any.sa_family == AF_INET) {
		addr = (const void *)&from->four.sin_addr;
		length = 4;
	}
	while (length--)
		hash = (hash ^ *addr++) * 1099511628211U;
	return (hash >> 32) % n;
}

/* All targets, from the first on; in the end those that rest. */
static void
arrange(const struct call *call, uint32_t *order)
{
	size_t n = call->map->targets, count = 0, at;
	size_t first = dial_first(call);
	deadline after = call->failed ? now() - DIAL_REST_MS : 0;

	for (int resting = 0; resting < 2; resting++)
		for (size_t i = 0; i < n; i++) {
			at = (first + i) % n;
			if ((call->failed && call->failed[at] > after) ==
			    (resting == 1))
				order[count++] = (uint32_t)at;
		}
}

int
dial(const struct call *call)
{
	const struct map *map = call->map;
	uint32_t order[TARGETS_MAX] = {0};
	size_t n = call->asked ? 1 : map->targets;
	deadline until = call->until;
	int fd = -1;

	if (!until)
		until = dial_until(map, now());

	if (!call->asked)
		arrange(call, order);
	for (size_t i = 0; i < n && fd == -1; i++) {
		const struct side *target =
		    call->asked ? call->asked : &map->target[order[i]];

		call->tally->target = order[i];
		call->tally->peer.any.sa_family = AF_UNSPEC;
		call->tally->code = 0;
		fd = dial_target(call, target,
		    target->lo == target->hi ? 0 : call->index,
		    share(until, n - i));
		if (fd == -1 && errno == ECONNABORTED)
			break;
		if (fd == -1 && call->failed)
			atomic_store(&call->failed[order[i]], now());
	}
	return fd;
}
