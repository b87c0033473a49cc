/* Decides which addresses a proxy's clients may reach. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/array.h"
#include "config/map.h"
#include "proxy/reach.h"

static bool
v4_allowed(const void *addr)
{
	/*
	 * Metadata of Alibaba, Oracle, Azure; that of other clouds is
	 * link-local.
	 */
	static const unsigned char metadata[][4] = {
	    {100, 100, 100, 200},
	    {192, 0, 0, 192},
	    {168, 63, 129, 16},
	};
	const unsigned char *byte = addr;

	for (size_t i = 0; i < sizeof(metadata) / 4; i++)
		if (memcmp(byte, metadata[i], 4) == 0)
			return false;
	return byte[0] != 0 && byte[0] != 127 && byte[0] < 224 &&
	    (byte[0] != 169 || byte[1] != 254);
}

static bool
v6_allowed(const struct in6_addr *addr)
{
	/* Amazon, Google, Oracle. */
	static const struct in6_addr none,
	    metadata[] = {
		{.s6_addr = {0xfd, 0, 0x0e, 0xc2, [14] = 0x02, 0x54}},
		{.s6_addr = {0xfd, 0x20, 0, 0xce, [14] = 0x02, 0x54}},
		{.s6_addr = {0xfd, 0, 0, 0xc1, [12] = 169, 254, 169, 254}},
	    };
	static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b};

	for (size_t i = 0; i < ARRAY_LEN(metadata); i++)
		if (IN6_ARE_ADDR_EQUAL(addr, &metadata[i]))
			return false;
	if (memcmp(addr, nat64, sizeof(nat64)) == 0)
		return v4_allowed(&addr->s6_addr[sizeof(nat64)]);
	return memcmp(addr, &none, 10) != 0 && !IN6_IS_ADDR_LINKLOCAL(addr) &&
	    !IN6_IS_ADDR_MULTICAST(addr);
}

bool
reach_allows(const struct map *map, const void *addr)
{
	union sockaddr_inet peer;

	peer = unmap_v4(addr);
	if (cidr_match(&map->reach, &peer))
		return true;
	return peer.sa.sa_family == AF_INET
	    ? v4_allowed(&peer.v4.sin_addr)
	    : peer.sa.sa_family == AF_INET6 && v6_allowed(&peer.v6.sin6_addr);
}
