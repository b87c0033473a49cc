/* The target addresses of a UDP map, and sockets to them. */

#ifndef UDP_TARGET_H
#define UDP_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "dial/resolve.h"

struct map;
union sockaddr_inet;

#define TARGET_ADDRS_MAX 64

/* The addresses that a map's targets have. */
struct target_addrs {
	const struct map *map;
	struct target_addr items[TARGET_ADDRS_MAX];
	uint32_t count;
	uint32_t preferred;    /* index of the address for new flows */
	msec resolved_at;      /* 0: never */
	msec resolve_duration; /* of the last resolution */
};

/*
 * Resolves the targets again if that is due: every minute; each second while
 * there is no address; if `lost`, because a flow has lost its target, after two
 * seconds, or later where resolving takes long. Keeps the old addresses if
 * resolving fails. Returns true if it has resolved.
 */
bool targets_resolve(struct target_addrs *, bool lost);

/*
 * Returns the index of an address, or targets->count. `port_index` is that of
 * the listener's port in the map's range.
 */
uint32_t targets_find_address(const struct target_addrs *,
    const union sockaddr_inet *, uint16_t port_index);

/*
 * Opens a socket to the address with the index `first`; if that fails, to one
 * of the addresses after it. Fills in *addr. Sets *group for a multicast or
 * broadcast address: that socket is not connected, because replies come from
 * other addresses. Returns -1 with errno: that of the first address, but if
 * resources have run out, see datagram_exhausted(), then that.
 */
int targets_open(const struct target_addrs *, uint32_t first,
    uint16_t port_index, union sockaddr_inet *addr, bool *group);

#endif
