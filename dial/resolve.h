/* The addresses of targets and hops. */

#ifndef DIAL_RESOLVE_H
#define DIAL_RESOLVE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/clock.h"

struct dns_source;
struct endpoint;
struct map;
struct ns;

#define RESOLVE_MAX 16 /* addresses of a host name that are used */

struct target_addr {
	struct sockaddr_storage addr;
	socklen_t length;
	uint32_t target; /* index in the map; set by resolve_targets() */
};

/*
 * Prepares this process, and the processes that it forks, to look up the names
 * of a map, which must stay. Opens the directories of resolv.conf and hosts, so
 * that they are read as they then are. To be called once, before privileges are
 * dropped. root is that of ns_enter(), and is owned from then on. Does nothing
 * if the map has no names. Returns 0, or -1 with errno.
 */
int resolver_open(const struct map *, int root);

/*
 * Returns the files and servers for dns_query_start() and dns_resolver_init(),
 * or NULL if the map has no names. The descriptors of its files must stay open
 * as long as names are looked up.
 */
const struct dns_source *resolver_source(void);

/* Writes the descriptors that must stay open. Returns how many. */
#define RESOLVER_FDS 2
size_t resolver_fds(int fds[RESOLVER_FDS]);

/*
 * Calls sandbox_limit_files() with the directories of those files, or with none
 * if the map has no names.
 */
void resolver_limit_files(unsigned role);

/*
 * Returns the number of addresses of an endpoint that is not a host name: 2 for
 * a bare port, which is 127.0.0.1, then ::1, else 1.
 */
size_t literal_count(const struct endpoint *);

/*
 * Fills in the i-th of those addresses, with the port port_first + index.
 * Returns -1 with errno, as endpoint_sockaddr().
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
