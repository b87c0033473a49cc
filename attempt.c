/* One socket to one address: how it is made, and what connect(2) comes to. */

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "dial.h"

static socklen_t
set_inet_addr(struct sockaddr_storage *addr, const void *four, uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
	    .sin_port = htons(port)};

	memcpy(&in.sin_addr, four, sizeof(in.sin_addr));
	memcpy(addr, &in, sizeof(in));
	return sizeof(in);
}

static socklen_t
set_inet6_addr(struct sockaddr_storage *addr, const struct in6_addr *sixteen,
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
set_unix_addr(struct sockaddr_storage *addr, const struct endpoint *ep)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t skip = ep->kind == EP_UNIX_ABSTRACT;
	size_t length = strlen(ep->name);

	if (skip + length >= sizeof(un.sun_path)) {
		errno = ENAMETOOLONG;
		return 0;
	}
	memcpy(un.sun_path + skip, ep->name, length);
	memcpy(addr, &un, sizeof(un));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
}

socklen_t
endpoint_sockaddr(struct sockaddr_storage *addr, const struct endpoint *ep,
    unsigned index, int family)
{
	const uint32_t loopback = htonl(INADDR_LOOPBACK), any = 0;
	uint16_t port = (uint16_t)(ep->port_first + index);

	memset(addr, 0, sizeof(*addr));
	switch (ep->kind) {
	case SIDE_LOOPBACK:
		if (family == AF_INET)
			return set_inet_addr(addr, &loopback, port);
		return set_inet6_addr(addr, &in6addr_loopback, NULL, port);
	case SIDE_ANY:
		if (family == AF_INET)
			return set_inet_addr(addr, &any, port);
		return set_inet6_addr(addr, &in6addr_any, NULL, port);
	case EP_IPV4:
		return set_inet_addr(addr, &ep->addr, port);
	case EP_IPV6:
		return set_inet6_addr(addr, &ep->addr, ep->zone, port);
	case EP_UNIX_PATH:
	case EP_UNIX_ABSTRACT:
		return set_unix_addr(addr, ep);
	case SIDE_HOST:
	case SIDE_SYSTEMD:
	case SIDE_PROXY:
	case SIDE_STDIO:
		break;
	}
	errno = EINVAL;
	return 0;
}

int
close_keep_errno(int fd)
{
	int saved = errno;

	close(fd);
	errno = saved;
	return -1;
}

int
set_source_options(int fd, const struct map *map, int family)
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
	length = endpoint_sockaddr(&own, &map->src, 0, AF_UNSPEC);
	if (length && own.ss_family != family)
		errno = EAFNOSUPPORT;
	if (!length || own.ss_family != family)
		return -1;
	/* The port is chosen by connect(2), which knows the other end. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	return bind(fd, addr, length);
}

/*
 * With nobody listening on a port of the ephemeral range, connect(2) may pick
 * that port as its own and meet itself.
 */
bool
is_self_connected(int fd, const void *peer, socklen_t length)
{
	struct sockaddr_storage own;
	socklen_t size = sizeof(own);
	void *p = &own;

	memset(&own, 0, sizeof(own));
	return getsockname(fd, p, &size) == 0 && size == length &&
	    own.ss_family != AF_UNIX && memcmp(&own, peer, length) == 0;
}

int
attempt_open(const struct map *map, int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	sock_set_stream_options(fd);
	return set_source_options(fd, map, family) == -1 ? close_keep_errno(fd)
							 : fd;
}

static enum attempt
connected(int fd, const struct target_addr *to)
{
	if (!is_self_connected(fd, &to->addr, to->length))
		return ATTEMPT_DONE;
	errno = ECONNREFUSED;
	return ATTEMPT_FAILED;
}

enum attempt
attempt_connect(int fd, const struct target_addr *to)
{
	const void *addr = &to->addr;

	if (connect(fd, addr, to->length) == 0)
		return connected(fd, to);
	if (errno == EINPROGRESS || errno == EALREADY || errno == EINTR)
		return ATTEMPT_WAIT;
	/* A full backlog, with no event to wait for. */
	return errno == EAGAIN && to->addr.ss_family == AF_UNIX
	    ? ATTEMPT_RETRY
	    : ATTEMPT_FAILED;
}

enum attempt
attempt_result(int fd, const struct target_addr *to)
{
	socklen_t length = sizeof(errno);
	int error;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == -1)
		return ATTEMPT_FAILED;
	errno = error;
	return error ? ATTEMPT_FAILED : connected(fd, to);
}
