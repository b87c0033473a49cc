/* Sets the options of stream sockets and examines their state. */

#include <errno.h>
#include <linux/bpf.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sock.h"

/* Aligned, so that both addresses have the same upper half. */
_Alignas(16) const
    struct linger sock_linger[2] = {{.l_onoff = 0}, {.l_onoff = 1}};

void
sock_reset_on_close(int fd, bool on)
{
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &sock_linger[on],
	    sizeof(*sock_linger));
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

void
sock_end(int fd)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct linger linger = {0};
	socklen_t length = sizeof(linger);

	getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length);
	if (!linger.l_onoff || connect(fd, &none, sizeof(none)) == -1)
		shutdown(fd, SHUT_WR);
	close(fd);
}

/* Returns the number of bytes that arrived on a TCP socket, or -1. */
static int64_t
tcp_received(int fd, uint8_t *state)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == -1)
		return -1;
	*state = info.tcpi_state;
	return (int64_t)info.tcpi_bytes_received;
}

static bool
has_fin(uint8_t state)
{
	return state == BPF_TCP_CLOSE_WAIT || state == BPF_TCP_LAST_ACK ||
	    state == BPF_TCP_CLOSING;
}

int64_t
sock_skipped(int fd, int64_t n)
{
	for (int i = 0; i < 3; i++) {
		uint8_t state, same;
		int unread;
		int64_t all = tcp_received(fd, &state);

		if (all == -1 || state == BPF_TCP_CLOSE ||
		    ioctl(fd, FIONREAD, &unread) == -1)
			return -1;
		if (tcp_received(fd, &same) == all && same == state)
			return all - n - unread - has_fin(state);
	}
	return -1;
}

bool
sock_got_fin(int fd, int64_t n)
{
	uint8_t state;

	return tcp_received(fd, &state) == n + 1;
}

unsigned
sock_interface(const char *name)
{
	struct ifreq ifr = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return 0;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFINDEX, &ifr) == -1)
		ifr.ifr_ifindex = 0;
	close(fd);
	return (unsigned)ifr.ifr_ifindex;
}
