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
static bool
met_itself(int fd, const struct sockaddr_storage *peer, socklen_t length)
{
	struct sockaddr_storage own;
	socklen_t size = sizeof(own);

	if (peer->ss_family == AF_UNIX)
		return false;
	memset(&own, 0, sizeof(own));
	return getsockname(fd, (struct sockaddr *)&own, &size) == 0 &&
	    size == length && memcmp(&own, peer, length) == 0;
}

/* A full backlog is EAGAIN on a UNIX socket, with no event to wait for. */
static int
start_connect(int fd, const struct sockaddr_storage *addr, socklen_t length,
    int client, deadline until)
{
	struct pollfd watched = {.fd = client};
	int span;

	while (connect(fd, (const struct sockaddr *)addr, length) == -1) {
		if (errno == EINPROGRESS || errno == EINTR)
			return await(fd, client, until);
		span = span_left(until);
		if (errno != EAGAIN || addr->ss_family != AF_UNIX)
			return -1;
		if (span == 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		poll(&watched, 1, RETRY_MS);
		if (watched.revents & POLLERR) {
			errno = ECONNABORTED;
			return -1;
		}
	}
	return 0;
}

/* A client that was reset in the backlog must not reach the target any more. */
static bool
was_reset(int client)
{
	struct pollfd watched = {.fd = client};

	return poll(&watched, 1, 0) == 1 && (watched.revents & POLLERR);
}

/* What is given up is reset: the target must not see an empty, clean end. */
static int
attempt(const struct sockaddr_storage *addr, socklen_t length, int client,
    deadline until)
{
	int fd, saved;

	if (was_reset(client)) {
		errno = ECONNABORTED;
		return -1;
	}
	fd = socket(addr->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	if (fd == -1)
		return -1;
	relay_prepare(fd);
	if (start_connect(fd, addr, length, client, until) == 0) {
		if (!met_itself(fd, addr, length))
			return fd;
		errno = ECONNREFUSED;
	}
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* Without an address: IPv4 first, and its error is the one that counts. */
static int
dial_loopback(const struct side *target, unsigned index, int client,
    deadline until)
{
	struct sockaddr_storage addr;
	socklen_t length;
	int fd, saved;

	length = dial_address(&addr, target, index, AF_INET);
	fd = attempt(&addr, length, client, share(until, 2));
	if (fd != -1 || errno == ECONNABORTED)
		return fd;
	saved = errno;
	length = dial_address(&addr, target, index, AF_INET6);
	fd = attempt(&addr, length, client, until);
	if (errno != ECONNABORTED)
		errno = saved;
	return fd;
}

/*
 * getaddrinfo(3) knows no deadline. A timer that nobody handles ends the
 * process in its stead, which resets the client, as a failed dial does; the
 * phase in the tally tells the mapper what it was.
 */
static int
resolve(const struct side *target, unsigned index, deadline until,
    struct addrinfo **list)
{
	const struct addrinfo hints = {
	    .ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_NUMERICSERV,
	};
	struct itimerval timer = {0};
	char port[8];
	int span = span_left(until), error;

	if (span != -1) {
		span = span ? span : 1;
		timer.it_value.tv_sec = span / 1000;
		timer.it_value.tv_usec = span % 1000 * 1000L;
		setitimer(ITIMER_REAL, &timer, NULL);
	}
	snprintf(port, sizeof(port), "%u", target->lo + index);
	error = getaddrinfo(target->text, port, &hints, list);
	memset(&timer, 0, sizeof(timer));
	setitimer(ITIMER_REAL, &timer, NULL);
	if (error == 0)
		return 0;
	if (error != EAI_SYSTEM)
		errno = error;
	return -1;
}

static int
dial_host(const struct side *target, unsigned index, int client, deadline until,
    struct tally *tally)
{
	struct addrinfo *list, *ai;
	struct sockaddr_storage addr;
	size_t left = 0;
	int fd = -1, first = 0;

	tally->phase = PHASE_RESOLVE;
	if (resolve(target, index, until, &list) == -1)
		return -1;
	tally->phase = PHASE_DIAL;
	for (ai = list; ai && left < ADDRESSES_MAX; ai = ai->ai_next)
		left++;
	for (ai = list; left && fd == -1; ai = ai->ai_next, left--) {
		memset(&addr, 0, sizeof(addr));
		memcpy(&addr, ai->ai_addr, ai->ai_addrlen);
		fd = attempt(&addr, ai->ai_addrlen, client, share(until, left));
		if (fd == -1 && (!first || errno == ECONNABORTED))
			first = errno;
		if (first == ECONNABORTED)
			break;
	}
	freeaddrinfo(list);
	errno = first;
	return fd;
}

static int
dial_target(const struct side *target, unsigned index, int client,
    deadline until, struct tally *tally)
{
	struct sockaddr_storage addr;
	socklen_t length;

	if (target->kind == SIDE_LOOPBACK)
		return dial_loopback(target, index, client, until);
	if (target->kind == SIDE_HOST)
		return dial_host(target, index, client, until, tally);
	length = dial_address(&addr, target, index, AF_UNSPEC);
	if (length == 0)
		return -1;
	return attempt(&addr, length, client, until);
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
		fd = dial_target(target, target->lo == target->hi ? 0 : index,
		    client, share(until, map->targets - i), tally);
		if (fd == -1 && errno == ECONNABORTED)
			break;
	}
	return fd;
}
