/* Relays the datagrams of a SOCKS5 proxy's client, RFC 1928 section 7. */

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/report.h"
#include "base/sock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/conn.h"
#include "dial/resolve.h"
#include "proxy/reach.h"
#include "proxy/socks.h"
#include "udp/associate.h"
#include "udp/datagram.h"
#include "udp/flow.h"

#define DATAGRAM_MAX     65535
#define SOCKS_UDP_FIXED  3 /* bytes before the address in a header */
#define SOCKS_UDP_HEADER (SOCKS_UDP_FIXED + 1 + 16 + 2)
#define SOCKS_ADDR_MAX   (1 + 1 + 255 + 2)
#define ADDRS_MAX        8     /* of a name, compared with reach= */
#define RESOLVE_AGAIN_MS 60000 /* until a name is resolved again */

/* The datagrams of one client, to and from any target. */
struct association {
	const struct conn *conn;
	int udp_fd;
	int target_fd[2];          /* IPv4, IPv6; -1 until needed */
	struct flow_key reply_key; /* peer: unset until the client has sent */
	unsigned char name[SOCKS_ADDR_MAX]; /* in the last datagram's header */
	size_t name_length;                 /* 0: not resolved */
	struct endpoint requested;          /* the name, parsed */
	struct target_addr target_addr;     /* the name, resolved */
	msec resolve_at;                    /* resolve again from then on */
	unsigned char data[SOCKS_UDP_HEADER + DATAGRAM_MAX];
};

/*
 * Writes an address as SOCKS5 does; the port is in network byte order. Returns
 * the byte after it.
 */
static unsigned char *
write_socks_addr(unsigned char *at, const union sockaddr_inet *peer,
    uint16_t port)
{
	bool six = peer->sa.sa_family == AF_INET6;

	*at++ = six ? SOCKS_ATYP_V6 : SOCKS_ATYP_V4;
	if (six)
		memcpy(at, &peer->v6.sin6_addr, 16);
	else
		memcpy(at, &peer->v4.sin_addr, 4);
	at += six ? 16 : 4;
	memcpy(at, &port, 2);
	return at + 2;
}

/*
 * Resolves the name in a header to the first address that reach= allows, unless
 * the last datagram had the same name within the last minute. Returns 0 or -1.
 */
static int
resolve_requested(struct association *a, const unsigned char *name,
    size_t length)
{
	struct map map = *a->conn->map;
	struct target_addr list[ADDRS_MAX];
	char text[HOSTPORT_MAX];
	size_t n;

	if (length == a->name_length && memcmp(name, a->name, length) == 0 &&
	    now_ms() < a->resolve_at)
		return 0;
	a->name_length = 0;
	if (socks_addr_format(text, name) == -1 ||
	    endpoint_parse_untrusted(&a->requested, text) == -1)
		return -1;
	map.targets = &a->requested;
	map.n_targets = 1;
	n = resolve_targets(&map, list, ADDRS_MAX);
	for (size_t i = 0; i < n && !a->name_length; i++)
		if (reach_allows(&map, &list[i].addr)) {
			a->target_addr = list[i];
			a->name_length = length;
		}
	memcpy(a->name, name, length);
	a->resolve_at = now_ms() + RESOLVE_AGAIN_MS;
	return a->name_length ? 0 : -1;
}

/* Opens the socket for targets of a family at its first use. */
static int
get_target_fd(struct association *a, int family)
{
	int *fd = &a->target_fd[family == AF_INET6];

	if (*fd != -1)
		return *fd;
	*fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd == -1)
		return -1;
	datagram_set_options(*fd, family, false, false);
	if (set_source_options(*fd, a->conn->map, family) == -1)
		*fd = close_keep_errno(*fd);
	return *fd;
}

/*
 * Returns true if a datagram has the address of the client's connection. The
 * first datagram sets the port that the others must have.
 */
static bool
is_from_client(struct association *a, const union sockaddr_inet *peer)
{
	const union sockaddr_inet *client = &a->conn->peer;
	bool same_address = peer->sa.sa_family == AF_INET
	    ? peer->v4.sin_addr.s_addr == client->v4.sin_addr.s_addr
	    : IN6_ARE_ADDR_EQUAL(&peer->v6.sin6_addr, &client->v6.sin6_addr);

	if (!same_address || !peer->v4.sin_port)
		return false;
	if (!a->reply_key.peer.sa.sa_family)
		a->reply_key.peer = *peer;
	return peer->v4.sin_port == a->reply_key.peer.v4.sin_port;
}

/* Drops fragments, invalid headers, and targets that reach= does not allow. */
static void
forward_up(struct association *a)
{
	unsigned char *data = a->data, *name = data + SOCKS_UDP_FIXED;
	unsigned char *payload;
	union sockaddr_inet peer = {0};
	socklen_t size = sizeof(peer);
	const void *to = &a->target_addr.addr;
	ssize_t n, length;

	n = recvfrom(a->udp_fd, data, sizeof(a->data), 0, &peer.sa, &size);
	if (n <= SOCKS_UDP_FIXED || data[0] || data[1] || data[2] ||
	    !is_from_client(a, &peer))
		return;
	length = socks_addr_length(name, (size_t)n - SOCKS_UDP_FIXED);
	if (length <= 0 || SOCKS_UDP_FIXED + length > n ||
	    resolve_requested(a, name, (size_t)length) == -1)
		return;
	payload = name + length;
	n = sendto(get_target_fd(a, a->target_addr.addr.ss_family), payload,
	    (size_t)(data + n - payload), MSG_NOSIGNAL, to,
	    a->target_addr.length);
	if (n > 0)
		a->conn->report->up += (uint64_t)n;
}

/* Receives behind the longest header, because the header is written later. */
static void
forward_down(struct association *a, int target_fd)
{
	unsigned char *payload = a->data + SOCKS_UDP_HEADER, *head;
	struct datagram d = {0};
	struct send_result result = {0};
	union sockaddr_inet peer = {0};
	socklen_t size = sizeof(peer);
	uint16_t gso_max = 0;
	ssize_t n;

	n = recvfrom(target_fd, payload, DATAGRAM_MAX, 0, &peer.sa, &size);
	if (n == -1 || !a->reply_key.peer.sa.sa_family ||
	    !reach_allows(a->conn->map, &peer))
		return;
	head = peer.sa.sa_family == AF_INET6 ? payload - SOCKS_UDP_HEADER
					     : payload - SOCKS_UDP_HEADER + 12;
	memset(head, 0, SOCKS_UDP_FIXED);
	write_socks_addr(head + SOCKS_UDP_FIXED, &peer, peer.v4.sin_port);
	d.data = head;
	d.length = (size_t)(payload - head + n);
	datagram_send(a->udp_fd, &a->reply_key, &gso_max, &d, &result);
	if (!result.lost)
		a->conn->report->down += (uint64_t)n;
}

static enum end_reason
associate_loop(struct association *a)
{
	const struct timeouts *times = &a->conn->map->times;
	const msec idle =
	    times->idle && (!times->udp || times->idle < times->udp)
	    ? times->idle
	    : times->udp;
	struct pollfd watched[4] = {
	    {.fd = a->conn->client, .events = POLLIN},
	    {.fd = a->udp_fd, .events = POLLIN},
	};
	char ignored[256];

	for (;;) {
		for (int i = 0; i < 2; i++)
			watched[2 + i] =
			    (struct pollfd){a->target_fd[i], POLLIN, 0};
		if (io_wait(watched, 4, idle ? now_ms() + idle : NEVER) == -1)
			return errno == ETIMEDOUT ? END_IDLE : END_LOCAL;
		if (watched[0].revents &&
		    recv(watched[0].fd, ignored, sizeof(ignored), 0) <= 0)
			return END_CLOSED;
		if (watched[1].revents)
			forward_up(a);
		for (int i = 2; i < 4; i++)
			if (watched[i].revents)
				forward_down(a, watched[i].fd);
	}
}

/*
 * Replies with the address of the UDP socket, or udp-address=. Unmutes the
 * socket first, so that it receives only datagrams of this association.
 */
static int
associate_send_reply(struct association *a)
{
	const struct io io = {a->conn->client, -1, a->conn->deadline};
	const struct endpoint *advertised = &a->conn->map->udp_address;
	unsigned char reply[SOCKS_UDP_HEADER] = {5}, *end;
	union sockaddr_inet own = {0}, address = a->conn->local;
	struct sockaddr_storage addr;
	socklen_t size = sizeof(own);

	datagram_unmute(a->udp_fd);
	if (getsockname(a->udp_fd, &own.sa, &size) == -1)
		return -1;
	if (advertised->kind != EP_ANY) {
		endpoint_sockaddr(&addr, advertised, 0, AF_UNSPEC);
		memcpy(&address, &addr, sizeof(address));
	}
	end = write_socks_addr(reply + SOCKS_UDP_FIXED, &address,
	    own.v4.sin_port);
	return io_write_all(&io, reply, (size_t)(end - reply));
}

void
udp_associate_mute(int udp_fd)
{
	datagram_mute(udp_fd);
}

enum end_reason
udp_associate(const struct conn *conn)
{
	struct association a = {
	    .conn = conn,
	    .udp_fd = conn->udp_fd,
	    .target_fd = {-1, -1},
	};
	const struct linger off = {0};
	enum end_reason end = END_CLIENT;

	if (conn->local.sa.sa_family == AF_INET6)
		a.reply_key.local = conn->local.v6.sin6_addr;
	else
		memcpy(&a.reply_key.local, &conn->local.v4.sin_addr, 4);
	if (associate_send_reply(&a) == 0)
		end = associate_loop(&a);
	if (end == END_CLOSED)
		setsockopt(conn->client, SOL_SOCKET, SO_LINGER, &off,
		    sizeof(off));
	endpoint_free(&a.requested);
	return end;
}
