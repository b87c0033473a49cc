/* Relays the datagrams of a client of a SOCKS5 proxy, RFC 1928 section 7. */

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/report.h"
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
#define SOCKS_UDP_FIXED  3 /* bytes in front of an address */
#define SOCKS_UDP_HEADER (SOCKS_UDP_FIXED + 1 + 16 + 2)
#define SOCKS_ADDR_MAX   (1 + 1 + 255 + 2)
#define CANDIDATES       8
#define FRESH_MS         60000 /* how long the address of a name is good */

/* Datagrams of one client, to and from anywhere. */
struct association {
	const struct conn *conn;
	int udp_fd, target_fd[2];  /* IPv4, IPv6; -1 until there is need */
	struct flow_key reply_key; /* the client, once it has sent something */
	unsigned char name[SOCKS_ADDR_MAX]; /* as the last datagram had it */
	size_t length;                      /* of that */
	struct endpoint asked;
	struct target_addr target_addr; /* what it is, */
	msec resolved_until;            /* until then */
	unsigned char data[SOCKS_UDP_HEADER + DATAGRAM_MAX];
};

static unsigned char *
put_peer(unsigned char *at, const union sockaddr_inet *peer, uint16_t port)
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

/* A name is asked for again after a minute, or when another was in between. */
static int
resolve(struct association *a, const unsigned char *name, size_t length)
{
	struct map map = *a->conn->map;
	struct target_addr list[CANDIDATES];
	char text[HOSTPORT_MAX];
	size_t n;

	if (length == a->length && memcmp(name, a->name, length) == 0 &&
	    now_ms() < a->resolved_until)
		return 0;
	a->length = 0;
	if (socks_addr_format(text, name) == -1 ||
	    endpoint_parse_untrusted(&a->asked, text) == -1)
		return -1;
	map.targets = &a->asked;
	map.n_targets = 1;
	n = resolve_targets(&map, list, CANDIDATES);
	for (size_t i = 0; i < n && !a->length; i++)
		if (reach_allows(&map, &list[i].addr)) {
			a->target_addr = list[i];
			a->length = length;
		}
	memcpy(a->name, name, length);
	a->resolved_until = now_ms() + FRESH_MS;
	return a->length ? 0 : -1;
}

static int
target_socket(struct association *a, int family)
{
	int *fd = &a->target_fd[family == AF_INET6];

	if (*fd != -1)
		return *fd;
	*fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd == -1)
		return -1;
	datagram_set_options(*fd, family, false, false);
	if (set_source_options(*fd, a->conn->map, family) == 0)
		return *fd;
	close(*fd);
	return *fd = -1;
}

/* Only the client's address counts, and of it the first port that is used. */
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

/* A fragment, or what is not allowed, is dropped, as on any way. */
static void
send_up(struct association *a)
{
	unsigned char *data = a->data, *payload;
	union sockaddr_inet peer = {0};
	socklen_t size = sizeof(peer);
	const void *to = &a->target_addr.addr;
	ssize_t n, used;

	n = recvfrom(a->udp_fd, data, sizeof(a->data), 0, &peer.sa, &size);
	if (n <= SOCKS_UDP_FIXED || data[0] || data[1] || data[2] ||
	    !is_from_client(a, &peer))
		return;
	used = socks_addr_length(data + SOCKS_UDP_FIXED,
	    (size_t)n - SOCKS_UDP_FIXED);
	if (used <= 0 || SOCKS_UDP_FIXED + used > n ||
	    resolve(a, data + SOCKS_UDP_FIXED, (size_t)used) == -1)
		return;
	payload = data + SOCKS_UDP_FIXED + used;
	n = sendto(target_socket(a, a->target_addr.addr.ss_family), payload,
	    (size_t)(data + n - payload), MSG_NOSIGNAL, to,
	    a->target_addr.length);
	if (n > 0)
		a->conn->report->up += (uint64_t)n;
}

static void
send_down(struct association *a, int from)
{
	unsigned char *payload = a->data + SOCKS_UDP_HEADER, *head;
	struct datagram one = {0};
	struct send_result outcome = {0};
	union sockaddr_inet peer = {0};
	socklen_t size = sizeof(peer);
	uint16_t limit = 0;
	ssize_t n;

	n = recvfrom(from, payload, DATAGRAM_MAX, 0, &peer.sa, &size);
	if (n == -1 || !a->reply_key.peer.sa.sa_family ||
	    !reach_allows(a->conn->map, &peer))
		return;
	head = peer.sa.sa_family == AF_INET6 ? payload - SOCKS_UDP_HEADER
					     : payload - SOCKS_UDP_HEADER + 12;
	memset(head, 0, SOCKS_UDP_FIXED);
	put_peer(head + SOCKS_UDP_FIXED, &peer, peer.v4.sin_port);
	one.data = head;
	one.length = (size_t)(payload - head + n);
	datagram_send(a->udp_fd, &a->reply_key, &limit, &one, &outcome);
	if (!outcome.lost)
		a->conn->report->down += (uint64_t)n;
}

/* Until the client ends its connection, or is silent for too long. */
static enum end_reason
associate_loop(struct association *a)
{
	const msec idle = a->conn->map->times.idle;
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
			send_up(a);
		for (int i = 2; i < 4; i++)
			if (watched[i].revents)
				send_down(a, watched[i].fd);
	}
}

/*
 * The client hears where to send. What came before the socket was its own, and
 * went unheard or not, was not for it.
 */
static int
associate_send_reply(struct association *a)
{
	const struct io io = {a->conn->client, -1, a->conn->deadline};
	unsigned char reply[SOCKS_UDP_HEADER] = {5}, *end;
	union sockaddr_inet own = {0};
	socklen_t size = sizeof(own);

	datagram_unmute(a->udp_fd);
	if (getsockname(a->udp_fd, &own.sa, &size) == -1)
		return -1;
	end =
	    put_peer(reply + SOCKS_UDP_FIXED, &a->conn->local, own.v4.sin_port);
	return io_write_all(&io, reply, (size_t)(end - reply));
}

void
udp_associate_mute(int udp)
{
	datagram_mute(udp);
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
	endpoint_free(&a.asked);
	return end;
}
