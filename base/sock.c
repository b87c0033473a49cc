/* Sets the options of stream sockets and examines their state. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/sock.h"

void
sock_reset_on_close(int fd, bool on)
{
	const struct linger linger = {.l_onoff = on, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

void
sock_set_stream_options(int fd)
{
	const int on = 1;

	/* A UNIX socket refuses the options of TCP, and does not need them. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	sock_reset_on_close(fd, true);
}

void
sock_set_oobinline(int fd)
{
	const int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
}

bool
client_was_reset(int client)
{
	struct pollfd watched = {.fd = client};

	if (poll(&watched, 1, 0) != 1 || !(watched.revents & POLLERR))
		return false;
	errno = ECONNABORTED;
	return true;
}

bool
sock_hung_up(int fd)
{
	struct pollfd watched = {.fd = fd};

	return poll(&watched, 1, 0) == 1 && watched.revents & POLLHUP;
}
