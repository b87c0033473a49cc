/* Formats, converts and matches IPv4 and IPv6 addresses. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/addr.h"

/* Appends a separator, or 0 for none, and a number. Returns where they end. */
static char *
append_number(char *at, char separator, unsigned n)
{
	char digits[10];
	size_t i = 0;

	if (separator)
		*at++ = separator;
	do
		digits[i++] = (char)('0' + n % 10);
	while (n /= 10);
	while (i)
		*at++ = digits[--i];
	*at = '\0';
	return at;
}

/*
 * Formats IPv4 without printf(3), because each connection is a new process, and
 * a new process has to map each page of the C library that it uses.
 */
const char *
sockaddr_format(const struct sockaddr *addr, char *buf)
{
	const void *p = addr;
	const struct sockaddr_in *in = p;
	const struct sockaddr_in6 *in6 = p;
	const unsigned char *four = (const void *)&in->sin_addr;
	char *at = buf;

	if (addr->sa_family == AF_INET) {
		for (int i = 0; i < 4; i++)
			at = append_number(at, i ? '.' : 0, four[i]);
		append_number(at, ':', ntohs(in->sin_port));
	} else if (addr->sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &in6->sin6_addr, buf, INET6_ADDRSTRLEN);
		at += strlen(buf);
		if (in6->sin6_scope_id)
			at = append_number(at, '%', in6->sin6_scope_id);
		append_number(at, '/', ntohs(in6->sin6_port));
	} else {
		memcpy(buf, "unix", sizeof("unix"));
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
