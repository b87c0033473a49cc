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
#include <sys/uio.h>

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
#include "dns/resolver.h"
#include "proxy/reach.h"
#include "proxy/socks.h"
#include "udp/associate.h"
#include "udp/datagram.h"
#include "udp/flow.h"
#include "udp/hold.h"
#include "udp/names.h"

#define DATAGRAM_MAX     65535
#define SOCKS_UDP_FIXED  3 /* bytes before the address in a header */
#define SOCKS_UDP_HEADER (SOCKS_UDP_FIXED + 1 + 16 + 2)
#define SOCKS_ADDR_MAX   (1 + 1 + 255 + 2)

/* The datagrams of one client, to and from any target. */
struct association {
	const struct conn *conn;
	int udp_fd;
	int target_fd[2];          /* IPv4, IPv6; -1 until needed */
	struct flow_key reply_key; /* peer: unset until the client has sent */
	unsigned char name[SOCKS_ADDR_MAX]; /* in the last datagram's header */
	size_t name_length;                 /* 0: none */
	struct endpoint requested;          /* the name, parsed */
	struct dns_resolver *resolver;      /* NULL until needed */
	struct hold *held; /* wait for a name; NULL until needed */
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

/* Parses the name in a header, unless it is that of the last datagram. */
static int
parse_requested(struct association *a, const unsigned char *name, size_t length)
{
	char text[HOSTPORT_MAX];

	if (length == a->name_length && memcmp(name, a->name, length) == 0)
		return 0;
	a->name_length = 0;
	if (socks_addr_format(text, name) == -1 ||
	    endpoint_parse_untrusted(&a->requested, text) == -1)
		return -1;
	memcpy(a->name, name, length);
	a->name_length = length;
	return 0;
}

/* Opens the resolver at the first name. */
static int
open_resolver(struct association *a)
{
	if (a->resolver)
		return 0;
	a->held = hold_open();
	a->resolver = a->held ? names_open() : NULL;
	return a->resolver ? 0 : -1;
}

/*
 * Writes the addresses of the requested name, at most RESOLVE_MAX. Returns how
 * many; or 0, with *pending set if a look-up runs.
 */
static size_t
resolve_requested(struct association *a, struct target_addr *out, bool *pending)
{
	const struct endpoint *ep = &a->requested;
	const struct dns_result *result;
	enum dns_status status;

	*pending = false;
	if (ep->kind != EP_HOST)
		return literal_addr(out, ep, 0, 0) == 0 ? 1 : 0;
	if (open_resolver(a) == -1)
		return 0;
	status = dns_resolver_ask(a->resolver, ep->name, now_ms(), &result);
	*pending = status == DNS_PENDING;
	if (status != DNS_OK && !*pending)
		names_log(a->conn->map, ep->name, result);
	return status == DNS_OK
	    ? resolve_result(out, RESOLVE_MAX, result, ep->port_first)
	    : 0;
}

/*
 * Finds the first address of the requested name that reach= allows. Returns
 * false if there is none, with *pending set if a look-up runs.
 */
static bool
find_allowed(struct association *a, struct target_addr *to, bool *pending)
{
	struct target_addr list[RESOLVE_MAX];
	size_t n = resolve_requested(a, list, pending);

	for (size_t i = 0; i < n; i++)
		if (reach_allows(a->conn->map, &list[i].addr)) {
			*to = list[i];
			return true;
		}
	return false;
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

/*
 * Sends a datagram that has a header to its target. Drops it if the header is
 * invalid, or if reach= does not allow the target. Returns false if the name in
 * the header is being looked up.
 */
static bool
send_requested(void *arg, struct datagram *d)
{
	struct association *a = arg;
	unsigned char *name = d->data + SOCKS_UDP_FIXED;
	struct target_addr to;
	bool pending;
	ssize_t length = socks_addr_length(name, d->length - SOCKS_UDP_FIXED);
	size_t head = SOCKS_UDP_FIXED + (size_t)length;
	struct datagram payload = {.tos = d->tos};
	struct send_result result = {0};
	struct flow_key key = {0};
	uint16_t gso_max = 0;
	struct send_to out = {.key = &key, .gso_max = &gso_max};

	if (length <= 0 || head > d->length ||
	    parse_requested(a, name, (size_t)length) == -1)
		return true;
	if (!find_allowed(a, &to, &pending))
		return !pending;
	payload.data = d->data + head;
	payload.length = d->length - head;
	memcpy(&key.peer, &to.addr, sizeof(key.peer));
	out.fd = get_target_fd(a, to.addr.ss_family);
	out.family = to.addr.ss_family;
	datagram_send(&out, &payload, &result);
	a->conn->report->up += result.bytes;
	return true;
}

/*
 * Returns false with ENOTCONN if the errno means that `ss -K` has destroyed the
 * socket: its port is then another one, or none.
 */
static bool
still_bound(int err)
{
	if (err == ECONNABORTED)
		errno = ENOTCONN;
	return err != ECONNABORTED;
}

/*
 * Drops fragments, and datagrams that do not come from the client. Returns as
 * still_bound().
 */
static bool
forward_up(struct association *a)
{
	unsigned char *data = a->data;
	struct flow_key key;
	struct datagram d = {.data = data, .key = &key};

	if (datagram_receive_one(a->udp_fd, &d, sizeof(a->data)) == -1)
		return still_bound(errno);
	if (d.length <= SOCKS_UDP_FIXED || data[0] || data[1] || data[2] ||
	    !is_from_client(a, &key.peer))
		return true;
	if (!send_requested(a, &d))
		hold_add(a->held, &d, hold_group(a->name, a->name_length));
	return true;
}

/*
 * Receives behind the longest header, because the header is written later.
 * Returns as still_bound().
 */
static bool
forward_down(struct association *a, int target_fd)
{
	unsigned char *payload = a->data + SOCKS_UDP_HEADER, *head;
	struct flow_key key;
	struct datagram d = {.data = payload, .key = &key};
	const union sockaddr_inet *peer = &key.peer;
	struct send_result result = {0};
	uint16_t gso_max = 0;
	const struct send_to out = {
	    .fd = a->udp_fd,
	    .family = a->conn->peer.sa.sa_family,
	    .key = &a->reply_key,
	    .gso_max = &gso_max,
	};
	size_t n;

	if (datagram_receive_one(target_fd, &d, DATAGRAM_MAX) == -1)
		return still_bound(errno);
	if (!a->reply_key.peer.sa.sa_family ||
	    !reach_allows(a->conn->map, peer))
		return true;
	n = d.length;
	head = peer->sa.sa_family == AF_INET6 ? payload - SOCKS_UDP_HEADER
					      : payload - SOCKS_UDP_HEADER + 12;
	memset(head, 0, SOCKS_UDP_FIXED);
	write_socks_addr(head + SOCKS_UDP_FIXED, peer, peer->v4.sin_port);
	d.data = head;
	d.length += (size_t)(payload - head);
	d.next = NULL;
	datagram_send(&out, &d, &result);
	if (!result.lost)
		a->conn->report->down += n;
	return still_bound(result.error);
}

/* Continues the look-ups, and sends the datagrams that have waited for them. */
static void
run_resolver(struct association *a)
{
	if (dns_resolver_run(a->resolver) && a->held->count)
		hold_replay(a->held, send_requested, a);
}

/*
 * Waits for input, or a time limit of a look-up. Returns -1 with errno:
 * ETIMEDOUT after udp-timeout= or idle-timeout=.
 */
static int
wait_input(const struct association *a, struct pollfd *watched, size_t count)
{
	const struct timeouts *times = &a->conn->map->times;
	const msec idle =
	    times->idle && (!times->udp || times->idle < times->udp)
	    ? times->idle
	    : times->udp;
	msec end = idle ? now_ms() + idle : NEVER, at = NEVER;

	if (a->resolver)
		at = dns_resolver_deadline(a->resolver);
	if (io_wait(watched, count, at < end ? at : end) != -1)
		return 0;
	return errno == ETIMEDOUT && at < end ? 0 : -1;
}

static enum end_reason
associate_loop(struct association *a)
{
	struct pollfd watched[5] = {
	    {.fd = a->conn->client, .events = POLLIN},
	    {.fd = a->udp_fd, .events = POLLIN},
	};
	char ignored[256];

	for (;;) {
		for (int i = 0; i < 2; i++)
			watched[2 + i] =
			    (struct pollfd){a->target_fd[i], POLLIN, 0};
		watched[4] =
		    (struct pollfd){a->resolver ? a->resolver->epfd : -1,
			POLLIN, 0};
		if (wait_input(a, watched, 5) == -1)
			return errno == ETIMEDOUT ? END_IDLE : END_LOCAL;
		if (watched[0].revents &&
		    recv(watched[0].fd, ignored, sizeof(ignored), 0) <= 0)
			return END_CLOSED;
		if (a->resolver)
			run_resolver(a);
		if (watched[1].revents && !forward_up(a))
			return END_LOCAL;
		for (int i = 2; i < 4; i++)
			if (watched[i].revents &&
			    !forward_down(a, watched[i].fd))
				return END_LOCAL;
	}
}

/*
 * Replies with the address of the UDP socket, or udp-address=.
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

enum end_reason
udp_associate(const struct conn *conn)
{
	struct association a = {
	    .conn = conn,
	    .udp_fd = conn->udp_fd,
	    .target_fd = {-1, -1},
	};
	enum end_reason end = END_CLIENT;

	if (conn->local.sa.sa_family == AF_INET6)
		a.reply_key.local = conn->local.v6.sin6_addr;
	else
		memcpy(&a.reply_key.local, &conn->local.v4.sin_addr, 4);
	if (associate_send_reply(&a) == 0)
		end = associate_loop(&a);
	if (end == END_CLOSED)
		sock_reset_on_close(conn->client, false);
	endpoint_free(&a.requested);
	return end;
}
