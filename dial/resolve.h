/* The addresses of targets and hops. */

#ifndef DIAL_RESOLVE_H
#define DIAL_RESOLVE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/clock.h"

struct endpoint;
struct map;

#define RESOLVE_MAX 16 /* addresses of a host name that are used */

struct target_addr {
	struct sockaddr_storage addr;
	socklen_t length;
	uint32_t target; /* index in the map; set by resolve_targets() */
};

/*
 * Returns the number of addresses of an endpoint that is not a host name: 2 for
 * a port alone (127.0.0.1, then ::1), else 1.
 */
size_t literal_count(const struct endpoint *);

/*
 * Fills in the i-th address that literal_count() counts, with the port
 * port_first + index. Returns -1 with errno, as endpoint_sockaddr().
 */
int literal_addr(struct target_addr *, const struct endpoint *, unsigned index,
    size_t i);

/*
 * Resolves a host name for TCP into at most RESOLVE_MAX addresses, with the
 * port port_first + index. Returns how many; or 0 with errno, which is negative
 * for an error of getaddrinfo(3). SIGALRM ends the process at the deadline.
 */
size_t resolve_host(struct target_addr *, const struct endpoint *,
    unsigned index, msec deadline);

/*
 * Resolves all targets of a UDP map, in their order, into at most max addresses
 * with the first port of each. Returns how many; or 0 with errno, as
 * resolve_host(), for the last target. There is no deadline.
 */
size_t resolve_targets(const struct map *, struct target_addr *, size_t max);

#endif
