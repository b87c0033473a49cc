/* Formats, converts and matches IPv4 and IPv6 addresses. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/addr.h"

const char *
sockaddr_format(const struct sockaddr *addr, char *buf)
{
	const void *p = addr;
	const struct sockaddr_in *in = p;
	const struct sockaddr_in6 *in6 = p;
	char text[INET6_ADDRSTRLEN], zone[16] = "";

	if (addr->sa_family == AF_INET) {
		inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
		snprintf(buf, SOCKADDR_STRLEN, "%s:%u", text,
		    ntohs(in->sin_port));
	} else if (addr->sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
		if (in6->sin6_scope_id)
			snprintf(zone, sizeof(zone), "%%%u",
			    (unsigned)in6->sin6_scope_id);
		snprintf(buf, SOCKADDR_STRLEN, "%s%s/%u", text, zone,
		    ntohs(in6->sin6_port));
	} else {
		snprintf(buf, SOCKADDR_STRLEN, "unix");
	}
	return buf;
}

/* Returns true if the first bits of both addresses are equal. */
static bool
prefix_equal(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
	unsigned bytes = bits / 8, mask = 0xff00U >> bits % 8 & 0xff;

	return memcmp(a, b, bytes) == 0 &&
	    (!mask || !((a->s6_addr[bytes] ^ b->s6_addr[bytes]) & mask));
}

struct in6_addr
v4_to_mapped(const void *four)
{
	struct in6_addr addr = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	memcpy(&addr.s6_addr[12], four, 4);
	return addr;
}

bool
is_v4_cidr(const struct cidr *cidr)
{
	return cidr->bits >= 96 && IN6_IS_ADDR_V4MAPPED(&cidr->addr);
}

bool
cidr_match(const struct cidr_list *list, const union sockaddr_inet *peer)
{
	struct in6_addr addr;

	if (peer->sa.sa_family == AF_INET)
		addr = v4_to_mapped(&peer->v4.sin_addr);
	else if (peer->sa.sa_family == AF_INET6)
		addr = peer->v6.sin6_addr;
	else
		return false;
	for (size_t i = 0; i < list->count; i++)
		if (is_v4_cidr(&list->items[i]) ==
			IN6_IS_ADDR_V4MAPPED(&addr) &&
		    prefix_equal(&list->items[i].addr, &addr,
			list->items[i].bits))
			return true;
	return false;
}

union sockaddr_inet
unmap_v4(const struct sockaddr_storage *addr)
{
	union sockaddr_inet peer, four;

	memcpy(&peer, addr, sizeof(peer));
	if (peer.sa.sa_family != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(&peer.v6.sin6_addr))
		return peer;
	memset(&four, 0, sizeof(four));
	four.v4.sin_family = AF_INET;
	four.v4.sin_port = peer.v6.sin6_port;
	memcpy(&four.v4.sin_addr, &peer.v6.sin6_addr.s6_addr[12], 4);
	return four;
}

bool
sockaddr_is_inet(const union sockaddr_inet *peer)
{
	return peer->sa.sa_family == AF_INET || peer->sa.sa_family == AF_INET6;
}
