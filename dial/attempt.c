/* Opens and connects one socket to one address. */

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/resolve.h"

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
	if (map->src.kind == EP_ANY)
		return 0;
	length = endpoint_sockaddr(&own, &map->src, 0, AF_UNSPEC);
	if (length && own.ss_family != family)
		errno = EAFNOSUPPORT;
	if (!length || own.ss_family != family)
		return -1;
	/* Leaves the port to connect(2), which finds more free ports. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	return bind(fd, addr, length);
}

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
check_connected(int fd, const struct target_addr *to)
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
		return check_connected(fd, to);
	if (errno == EINPROGRESS || errno == EALREADY || errno == EINTR)
		return ATTEMPT_WAIT;
	return errno == EAGAIN && to->addr.ss_family == AF_UNIX
	    ? ATTEMPT_RETRY
	    : ATTEMPT_FAILED;
}

/*
 * Does not call connect(2) again, because that discards the bytes of a target
 * that has sent some and then reset the connection.
 */
enum attempt
attempt_poll(int fd, const struct target_addr *to)
{
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);
	void *p = &peer;

	return getpeername(fd, p, &size) == 0 ? check_connected(fd, to)
					      : ATTEMPT_WAIT;
}

/*
 * A connection that was refused fails with ECONNREFUSED. So ECONNRESET or EPIPE
 * means that the target has accepted, and may have sent bytes before its reset.
 */
enum attempt
attempt_result(int fd, const struct target_addr *to)
{
	socklen_t length = sizeof(errno);
	int error;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == -1)
		return ATTEMPT_FAILED;
	errno = error;
	if (error == ECONNRESET || error == EPIPE)
		return ATTEMPT_RESET;
	return error ? ATTEMPT_FAILED : check_connected(fd, to);
}
