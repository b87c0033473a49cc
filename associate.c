/* Relays the datagrams of a client of a SOCKS5 proxy, RFC 1928 section 7. */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "associate.h"
#include "hop.h"
#include "io.h"
#include "nsfwd.h"
#include "udp.h"

#define DATAGRAM_MAX 65535
#define FIXED        3 /* bytes in front of an address */
#define HEAD         (FIXED + 1 + 16 + 2)
#define NAME         (1 + 1 + 255 + 2)
#define CANDIDATES   8
#define FRESH_MS     60000 /* how long the address of a name is good */

/* Datagrams of one client, to and from anywhere. */
struct association {
	const struct call *call;
	int client, target[2];    /* IPv4, IPv6; -1 until there is need */
	struct flow_key key;      /* the client, once it has sent something */
	unsigned char name[NAME]; /* as the last datagram had it */
	size_t length;            /* of that */
	struct side asked;
	struct candidate to; /* what it is, */
	deadline fresh;      /* until then */
	unsigned char data[HEAD + DATAGRAM_MAX];
};

static unsigned char *
put_peer(unsigned char *at, const union peer *peer, uint16_t port)
{
	bool six = peer->any.sa_family == AF_INET6;

	*at++ = six ? HOP_INET6 : HOP_INET;
	if (six)
		memcpy(at, &peer->six.sin6_addr, 16);
	else
		memcpy(at, &peer->four.sin_addr, 4);
	at += six ? 16 : 4;
	memcpy(at, &port, 2);
	return at + 2;
}

/* A name is asked for again after a minute, or when another was in between. */
static int
resolve(struct association *a, const unsigned char *name, size_t length)
{
	struct map map = *a->call->map;
	struct candidate list[CANDIDATES];
	char text[HOP_NAME_MAX];
	size_t n;

	if (length == a->length && memcmp(name, a->name, length) == 0 &&
	    now() < a->fresh)
		return 0;
	a->length = 0;
	if (hop_socks_text(text, name) == -1 ||
	    hop_asked(&a->asked, text) == -1)
		return -1;
	map.target = &a->asked;
	map.targets = 1;
	n = dial_candidates(&map, list, CANDIDATES);
	for (size_t i = 0; i < n && !a->length; i++)
		if (dial_permits(&map, &list[i].addr)) {
			a->to = list[i];
			a->length = length;
		}
	memcpy(a->name, name, length);
	a->fresh = now() + FRESH_MS;
	return a->length ? 0 : -1;
}

static int
target_of(struct association *a, int family)
{
	int *fd = &a->target[family == AF_INET6];

	if (*fd != -1)
		return *fd;
	*fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd == -1)
		return -1;
	datagram_prepare(*fd, family, false, false);
	if (dial_prepare(*fd, a->call->map, family) == 0)
		return *fd;
	close(*fd);
	return *fd = -1;
}

/* Only the client's address counts, and of it the first port that is used. */
static bool
is_client(struct association *a, const union peer *peer)
{
	const union peer *client = &a->call->from;
	bool same_address = peer->any.sa_family == AF_INET
	    ? peer->four.sin_addr.s_addr == client->four.sin_addr.s_addr
	    : IN6_ARE_ADDR_EQUAL(&peer->six.sin6_addr, &client->six.sin6_addr);

	if (!same_address || !peer->four.sin_port)
		return false;
	if (!a->key.peer.any.sa_family)
		a->key.peer = *peer;
	return peer->four.sin_port == a->key.peer.four.sin_port;
}

/* A fragment, or what is not allowed, is dropped, as on any way. */
static void
send_up(struct association *a)
{
	unsigned char *data = a->data, *payload;
	union peer peer = {0};
	socklen_t size = sizeof(peer);
	const void *to = &a->to.addr;
	ssize_t n, used;

	n = recvfrom(a->client, data, sizeof(a->data), 0, &peer.any, &size);
	if (n <= FIXED || data[0] || data[1] || data[2] || !is_client(a, &peer))
		return;
	used = hop_socks_length(data + FIXED, (size_t)n - FIXED);
	if (used <= 0 || FIXED + used > n ||
	    resolve(a, data + FIXED, (size_t)used) == -1)
		return;
	payload = data + FIXED + used;
	n = sendto(target_of(a, a->to.addr.ss_family), payload,
	    (size_t)(data + n - payload), MSG_NOSIGNAL, to, a->to.length);
	if (n > 0)
		a->call->tally->up += (uint64_t)n;
}

static void
send_down(struct association *a, int from)
{
	unsigned char *payload = a->data + HEAD, *head;
	struct datagram one = {0};
	struct outcome outcome = {0};
	union peer peer = {0};
	socklen_t size = sizeof(peer);
	uint16_t limit = 0;
	ssize_t n;

	n = recvfrom(from, payload, DATAGRAM_MAX, 0, &peer.any, &size);
	if (n == -1 || !a->key.peer.any.sa_family ||
	    !dial_permits(a->call->map, &peer))
		return;
	head = peer.any.sa_family == AF_INET6 ? payload - HEAD
					      : payload - HEAD + 12;
	memset(head, 0, FIXED);
	put_peer(head + FIXED, &peer, peer.four.sin_port);
	one.data = head;
	one.length = (size_t)(payload - head + n);
	datagram_send(a->client, &a->key, &limit, &one, &outcome);
	if (!outcome.lost)
		a->call->tally->down += (uint64_t)n;
}

/* Until the client ends its connection, or is silent for too long. */
static enum end
exchange(struct association *a)
{
	const deadline idle = a->call->map->times.idle;
	struct pollfd watched[4] = {
	    {.fd = a->call->client, .events = POLLIN},
	    {.fd = a->client, .events = POLLIN},
	};
	char ignored[256];

	for (;;) {
		for (int i = 0; i < 2; i++)
			watched[2 + i] =
			    (struct pollfd){a->target[i], POLLIN, 0};
		if (io_wait(watched, 4, idle ? now() + idle : NEVER) == -1)
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
begin(struct association *a)
{
	const struct line line = {a->call->client, -1, a->call->until};
	unsigned char reply[HEAD] = {5}, *end;
	union peer own = {0};
	socklen_t size = sizeof(own);

	datagram_unmute(a->client);
	if (getsockname(a->client, &own.any, &size) == -1)
		return -1;
	end = put_peer(reply + FIXED, &a->call->to, own.four.sin_port);
	return hop_write(&line, reply, (size_t)(end - reply));
}

void
associate_rearm(int udp)
{
	datagram_mute(udp);
}

enum end
associate(const struct call *call)
{
	struct association a = {
	    .call = call,
	    .client = call->udp,
	    .target = {-1, -1},
	};
	const struct linger off = {0};
	enum end end = END_CLIENT;

	if (call->to.any.sa_family == AF_INET6)
		a.key.local = call->to.six.sin6_addr;
	else
		memcpy(&a.key.local, &call->to.four.sin_addr, 4);
	if (begin(&a) == 0)
		end = exchange(&a);
	if (end == END_CLOSED)
		setsockopt(call->client, SOL_SOCKET, SO_LINGER, &off,
		    sizeof(off));
	side_free(&a.asked);
	return end;
}
