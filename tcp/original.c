/* Finds out where a connection was going before nft redirected it. */

/*
 * Theory of operation
 *
 * REDIRECT changes the destination; the connection tracking of the listen
 * namespace knows the old one, and tells it by SO_ORIGINAL_DST. TPROXY leaves
 * the destination as it is, so that it is the local address of the socket. With
 * connection tracking, SO_ORIGINAL_DST tells the same address.
 *
 * A client of the port itself has the local address as its destination, too,
 * and its port is the listener's. TPROXY of a connection to that same port
 * looks alike, and is refused with them.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/conn.h"
#include "tcp/original.h"

#define ORIGINAL_DST 80 /* SO_ORIGINAL_DST, and IP6T_SO_ORIGINAL_DST */

/* The socket of a v4-mapped client answers at SOL_IP only. */
static int
read_tracked(const struct conn *conn, union sockaddr_inet *to)
{
	int level =
	    conn->peer.sa.sa_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	struct sockaddr_storage addr = {0};
	socklen_t length = sizeof(addr);

	if (getsockopt(conn->client, level, ORIGINAL_DST, &addr, &length) == -1)
		return -1;
	*to = unmap_v4(&addr);
	return 0;
}

static bool
equal_addr(const union sockaddr_inet *a, const union sockaddr_inet *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	return a->sa.sa_family == AF_INET
	    ? a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr
	    : IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr);
}

int
original_read(struct conn *conn)
{
	const uint16_t port =
	    (uint16_t)(conn->map->listen.port_first + conn->port_index);
	struct sockaddr_storage addr = {0};
	socklen_t length = sizeof(addr);
	union sockaddr_inet own;

	if (getsockname(conn->client, (struct sockaddr *)&addr, &length) == -1)
		return -1;
	own = unmap_v4(&addr);
	if (read_tracked(conn, &conn->original) == -1)
		conn->original = own;
	return ntohs(conn->original.v4.sin_port) == port &&
		equal_addr(&conn->original, &own)
	    ? -1
	    : 0;
}

void
original_endpoint(struct endpoint *ep, const struct conn *conn)
{
	const union sockaddr_inet *to = &conn->original;

	*ep = (struct endpoint){.kind = EP_IPV6, .addr = to->v6.sin6_addr};
	if (to->sa.sa_family == AF_INET) {
		*ep = (struct endpoint){.kind = EP_IPV4};
		memcpy(&ep->addr, &to->v4.sin_addr, sizeof(to->v4.sin_addr));
	}
	ep->port_first = ep->port_last = ntohs(to->v4.sin_port);
}
