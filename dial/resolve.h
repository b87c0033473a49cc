/* The addresses of targets and hops. */

#ifndef DIAL_RESOLVE_H
#define DIAL_RESOLVE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/clock.h"

struct conn_report;
struct dns_addr;
struct dns_result;
struct dns_source;
struct endpoint;
struct io;
struct map;

#define RESOLVE_MAX 16 /* addresses of a host name that are used */

struct target_addr {
	struct sockaddr_storage addr;
	socklen_t length;
	uint32_t target; /* index of the target; set by a UDP map only */
};

/*
 * Prepares this process, and the processes that it forks, to look up the names
 * of a map, which must stay. Opens the directories of resolv.conf and hosts, so
 * that each look-up can read the present files without privileges. To be called
 * once, before privileges are dropped. Takes over root, a result of ns_enter().
 * Opens nothing if the map has no names. Returns 0, or -1 with errno.
 */
int resolver_open(const struct map *, const int root[2]);

/*
 * Returns the files and servers for dns_query_start() and dns_resolver_init(),
 * or NULL if the map has no names. The descriptors of its files must stay open
 * as long as names are looked up.
 */
const struct dns_source *resolver_source(void);

/* Closes the files of a process that looks up no more names. */
void resolver_close(void);

/*
 * Logs the first error that dns_check() finds, unless hosts has all names of
 * the map. To be called in the target namespace, with the rights of the process
 * that looks names up. Does not wait.
 */
void resolver_check(void);

/* Writes the descriptors of resolver_open(). Returns how many. */
#define RESOLVER_FDS 3
size_t resolver_fds(int fds[RESOLVER_FDS]);

/*
 * Calls landlock_limit_files() with the directories of resolv.conf and hosts,
 * or with none if the map has no names.
 */
void resolver_limit_files(unsigned role);

/*
 * Returns the number of addresses of an endpoint that is not a host name: 2 for
 * a bare port (127.0.0.1, then ::1), else 1.
 */
size_t literal_count(const struct endpoint *);

/*
 * Fills in the i-th address that literal_count() counts, with the port
 * port_first + index. Returns -1 with errno, as endpoint_sockaddr().
 */
int literal_addr(struct target_addr *, const struct endpoint *, unsigned index,
    size_t i);

/*
 * Resolves a host name into at most RESOLVE_MAX addresses, in the order in
 * which to try them. Waits until limits->deadline, or until limits->abort_fd is
 * reset. Returns how many; or 0 with errno: an enum name_error, an errno, or
 * ECONNABORTED after a reset. Calls resolve_report() with the result.
 */
size_t resolve_host(struct dns_addr *, const char *name,
    const struct io *limits, struct conn_report *);

/* Writes the socket address of a resolved address and a port. */
void resolve_sockaddr(struct target_addr *, const struct dns_addr *,
    uint16_t port);

/*
 * Describes why the last resolve_host() found no address. Returns buf.
 * RESOLVE_TEXT_MAX is enough for `size`.
 */
#define RESOLVE_TEXT_MAX 512
const char *resolve_text(char *buf, size_t size);

/*
 * Write the addresses of a result that is not pending, at most RESOLVE_MAX;
 * resolve_result() writes socket addresses, at most max. Return how many; or 0
 * with errno, as resolve_host().
 */
size_t resolve_addrs(struct dns_addr *, const struct dns_result *);
size_t resolve_result(struct target_addr *, size_t max,
    const struct dns_result *, uint16_t port);

/* Puts the name server of a failed look-up into the report; otherwise none. */
void resolve_report(struct conn_report *, const struct dns_result *);

#endif
