/* The target addresses of a UDP map, and sockets to them. */

#ifndef UDP_TARGET_H
#define UDP_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "dial/resolve.h"

struct dns_resolver;
struct flow_key;
struct map;
union sockaddr_inet;

#define TARGET_ADDRS_MAX 64

/* The addresses that a map's targets have. */
struct target_addrs {
	const struct map *map;
	struct dns_resolver *resolver; /* NULL: no target is a host name */
	struct target_addr items[TARGET_ADDRS_MAX];
	uint32_t count;
	uint8_t *preferred; /* of each port: index for new flows */
	uint64_t pending;   /* set of targets whose name is being looked up */
	bool failing;       /* the last look-up has failed */
	msec refreshed_at;  /* 0: never */
	msec doubted_at;
	msec use_old_at; /* new flows use old addresses of a pending name */
	msec run_at;     /* to call targets_run() at, or NEVER */
};

/*
 * Starts without addresses. Adds the resolver to an epoll(7) with `data`.
 * Returns 0, or -1 with errno.
 */
int targets_init(struct target_addrs *, const struct map *, int epoll,
    uint64_t data);

/*
 * Brings the addresses up to date if that is due: once a second at most, and
 * names when their TTL has passed. If `lost`, because a flow has lost its
 * target, names are looked up again, every two seconds at most. Never waits. A
 * name keeps its old addresses during a look-up, and after a look-up that had
 * no answer. If the answer is that there is no address, the old ones are
 * removed, unless no target has an address then.
 */
void targets_refresh(struct target_addrs *, bool lost, msec now);

/*
 * Continues the look-ups. To be called when the epoll(7) reports `data`, and at
 * run_at. Returns true if a look-up has ended.
 */
bool targets_run(struct target_addrs *, msec now);

/*
 * Returns true if a new flow of a port has to wait for the look-up of the name
 * of its preferred target. The wait ends at use_old_at if there are old
 * addresses.
 */
bool targets_wait(const struct target_addrs *, uint16_t port_index, msec now);

/* Fills in the destination of a flow that nft redirected: local and `port`. */
void targets_original(const struct flow_key *, uint16_t port,
    union sockaddr_inet *);

/*
 * Opens a socket to the destination of a flow that nft redirected. Fills in
 * *addr. Returns -1 with errno: EACCES if reach= does not allow the
 * destination, or if it is the listener.
 */
int targets_open_original(const struct map *, const struct flow_key *,
    uint16_t port, union sockaddr_inet *addr);

/*
 * Returns the index of an address, or targets->count. `port_index` is that of
 * the listener's port in the map's range.
 */
uint32_t targets_find_address(const struct target_addrs *,
    const union sockaddr_inet *, uint16_t port_index);

/*
 * Writes the first address of a target that is a bare port: messages name the
 * target by it. Changes nothing for other targets.
 */
void targets_first_address(const struct target_addrs *, uint32_t target,
    uint16_t port_index, union sockaddr_inet *);

/*
 * Opens a socket to the address with the index `first`; if that fails, to one
 * of the addresses after it. Fills in *addr. Sets *group for a multicast or
 * broadcast address: that socket is not connected, because replies come from
 * other addresses. Returns -1 with errno: one of datagram_exhausted() if
 * resources have run out, else that of the first address.
 */
int targets_open(const struct target_addrs *, uint32_t first,
    uint16_t port_index, union sockaddr_inet *addr, bool *group);

#endif
