/* The target addresses of a UDP map, and sockets to them. */

#ifndef UDP_TARGET_H
#define UDP_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "dial/resolve.h"

struct map;
union sockaddr_inet;

#define CANDIDATES_MAX 64

/* The addresses that a map's datagrams may go to. */
struct candidates {
	const struct map *map;
	struct target_addr addr_index[CANDIDATES_MAX];
	uint32_t count;
	uint32_t current; /* the one that a new flow begins with */
	msec asked, span; /* when its names were, and how long that took */
};

/*
 * Asks for the names again: once a minute; if a flow has lost its target, after
 * two seconds, or later where an answer takes long. An answer that fails leaves
 * the last one in force. True if it did ask.
 */
bool targets_resolve(struct candidates *, bool lost);

/* Which one the address is, at that index of the port range, or count. */
uint32_t targets_find_address(const struct candidates *,
    const union sockaddr_inet *, uint16_t index);

/*
 * Opens a socket to that one or, failing that, to one after it, and fills in its
 * address. -1 with the first errno, or the one of datagram_exhausted(). The
 * socket is connected, so that it hears of refusals and from nobody else, unless
 * *group is set: of a multicast or broadcast address, from which no answer ever
 * comes, it is not, and hears from everybody.
 */
int targets_open_socket(const struct candidates *, uint32_t first,
    uint16_t index, union sockaddr_inet *, bool *group);

#endif
