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

#include "nsfwd.h"

#define NEVER         INT64_MAX
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
	case SIDE_PROXY:
	case SIDE_STDIO:
		break;
	}
	errno = EINVAL;
	return 0;
}

/* The time for the next of so many attempts, each with an even share. */
static deadline
share(deadline until, size_t left)
{
	deadline at = now();

	if (until == NEVER)
		return NEVER;
	return at >= until ? until : at + (until - at) / (deadline)left;
}

static int
span_left(deadline until)
{
	deadline left;

	if (until == NEVER)
		return -1;
	left = until - now();
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

/*
 * Waits until the connect is decided. The client is watched for a reset only:
 * its end of stream may lie behind a request that wants an answer.
 */
static int
await(int fd, int client, deadline until)
{
	struct pollfd watched[2] = {
	    {.fd = fd, .events = POLLOUT},
	    {.fd = client},
	};
	socklen_t length = sizeof(errno);
	int n, error;

	for (;;) {
		n = poll(watched, 2, span_left(until));
		if (n == -1 && errno != EINTR)
			return -1;
		if (n == 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (n > 0 && (watched[1].revents & POLLERR)) {
			errno = ECONNABORTED;
			return -1;
		}
		if (n > 0 && watched[1].revents)
			watched[1].fd = -1;
		if (n > 0 && watched[0].revents)
			break;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == -1)
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
start_connect(int fd, const struct sockaddr_storage *addr, socklen_t length,
    int client, deadline until)
{
	const void *to = addr;

	while (connect(fd, to, length) == -1) {
		if (errno == EINPROGRESS || errno == EINTR)
			return await(fd, client, until);
		if (errno != EAGAIN || addr->ss_family != AF_UNIX ||
		    dial_reset(client))
			return -1;
		errno = ETIMEDOUT;
		if (span_left(until) == 0)
			return -1;
		poll(NULL, 0, RETRY_MS);
	}
	return 0;
}

/* What is given up is reset: the target must not see an empty, clean end. */
static int
attempt(const struct sockaddr_storage *addr, socklen_t length, int client,
    deadline until)
{
	int fd, saved;

	if (dial_reset(client))
		return -1;
	fd = socket(addr->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	if (fd == -1)
		return -1;
	relay_prepare(fd);
	if (start_connect(fd, addr, length, client, until) == 0) {
		if (!dial_met_itself(fd, addr, length))
			return fd;
		errno = ECONNREFUSED;
	}
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
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
	int span = span_left(until);

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

/* The error of its first address is the one that counts, and is named. */
static int
dial_target(const struct side *target, unsigned index, int client,
    deadline until, struct tally *tally)
{
	struct candidate list[ADDRESSES_MAX];
	int fd = -1, error = 0;
	size_t n;

	if (target->kind == SIDE_HOST) {
		tally->resolving = 1;
		set_timer(until);
	}
	n = addresses(target, index, SOCK_STREAM, list, ADDRESSES_MAX);
	if (target->kind == SIDE_HOST)
		setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	tally->resolving = 0;
	if (n == 0)
		return -1;
	for (size_t i = 0; i < n && fd == -1 && error != ECONNABORTED; i++) {
		fd = attempt(&list[i].addr, list[i].length, client,
		    share(until, n - i));
		if (i == 0 || errno == ECONNABORTED)
			error = errno;
		if ((i == 0 || fd != -1) && list[i].addr.ss_family != AF_UNIX)
			memcpy(&tally->peer, &list[i].addr, list[i].length);
	}
	errno = error;
	return fd;
}

int
dial(const struct map *map, unsigned index, int client, struct tally *tally)
{
	deadline until = NEVER;
	int fd = -1;

	if (map->times.connect)
		until = now() + map->times.connect;
	for (size_t i = 0; i < map->targets && fd == -1; i++) {
		const struct side *target = &map->target[i];

		tally->target = (uint32_t)i;
		tally->peer.any.sa_family = AF_UNSPEC;
		fd = dial_target(target, target->lo == target->hi ? 0 : index,
		    client, share(until, map->targets - i), tally);
		if (fd == -1 && errno == ECONNABORTED)
			break;
	}
	return fd;
}
