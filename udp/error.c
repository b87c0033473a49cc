/* Tells kinds of errors of UDP sockets apart. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "udp/error.h"

#include "base/errname.h"

bool
datagram_is_icmp_error(int err)
{
	return err == ECONNREFUSED || err == EHOSTUNREACH ||
	    err == ENETUNREACH || err == EACCES || err == ENOPROTOOPT;
}

bool
datagram_refused_already(int fd)
{
	socklen_t length = sizeof(int);
	int error = 0;

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
	return datagram_is_icmp_error(error);
}

/* Includes ECONNABORTED and EDESTADDRREQ, which a socket has after `ss -K`. */
bool
datagram_is_route_error(int err)
{
	return err == ENETUNREACH || err == EHOSTUNREACH || err == EINVAL ||
	    err == EADDRNOTAVAIL || err == ENODEV || err == ECONNABORTED ||
	    err == EDESTADDRREQ;
}

bool
datagram_exhausted(int err)
{
	return errno_is_shortage(err) || err == EAGAIN || err == ENOSPC;
}
