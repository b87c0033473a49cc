/* Says what the error of a connection to a target means, and the cure. */

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "dial/why.h"

#include "base/addr.h"
#include "base/advice.h"
#include "base/report.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "netns.h"
#include "proxy/reach.h"

static bool
is_loopback_addr(const union sockaddr_inet *addr)
{
	if (addr->sa.sa_family == AF_INET)
		return ntohl(addr->v4.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&addr->v6.sin6_addr);
}

static enum advice_case
what_was_tried(const struct endpoint *ep, const struct conn_report *r)
{
	if (r->hop_status)
		return ADVICE_DIAL_HOP;
	if (ep->kind == EP_UNIX_PATH || ep->kind == EP_UNIX_ABSTRACT)
		return ADVICE_DIAL_UNIX;
	if (ep->kind == EP_LOOPBACK ||
	    (sockaddr_is_inet(&r->peer) && is_loopback_addr(&r->peer)))
		return ADVICE_DIAL_LOOPBACK;
	return ADVICE_DIAL_INET;
}

/* Writes the key that allows an address. An address ends at its port. */
static const char *
write_reach(char *buf, const union sockaddr_inet *peer)
{
	char text[SOCKADDR_STRLEN];

	sockaddr_format(&peer->sa, text);
	*strrchr(text, peer->sa.sa_family == AF_INET ? ':' : '/') = '\0';
	snprintf(buf, ADVICE_SIZE, "reach=%s would allow it", text);
	return buf;
}

const char *
why_host(const struct endpoint *ep)
{
	return ep->kind == EP_LOOPBACK ? "127.0.0.1:" : "";
}

const char *
dial_why(char *buf, const struct map *map, const struct conn_report *r, int err)
{
	const struct endpoint *ep = map->n_hops ? &map->hops->ep
	    : r->target < map->n_targets        ? &map->targets[r->target]
						: map->targets;
	char text[SOCKADDR_STRLEN], server[SOCKADDR_STRLEN], arg[ADVICE_SIZE];
	const struct advice_place place = {
	    .tried = what_was_tried(ep, r),
	    .addr = sockaddr_is_inet(&r->peer)
		? sockaddr_format(&r->peer.sa, text)
		: arg,
	    .ns = ns_spec(&map->target_ns),
	    .server = sockaddr_is_inet(&r->server)
		? sockaddr_format(&r->server.sa, server)
		: NULL,
	};

	snprintf(arg, sizeof(arg), "%s%s", why_host(ep), ep->arg);
	if (err == EACCES && !r->hop_status && map_client_chooses(map) &&
	    sockaddr_is_inet(&r->peer) && !reach_allows(map, &r->peer))
		return write_reach(buf, &r->peer);
	return errno_advice(buf, err, &place);
}
