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
	uint32_t target; /* index in the map, for a UDP map */
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

/* Closes the files of a process that looks up no more names. */
void resolver_close(void);

/*
 * Logs why names would not resolve, if that can be told. To be called in the
 * namespace, with the rights of the process that resolves. Waits for nothing.
 */
void resolver_check(void);

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
 * Resolves a host name into at most RESOLVE_MAX addresses, in the order in
 * which to try them. Waits until limits->deadline, or until limits->abort_fd is
 * reset. Returns how many; or 0 with errno, which is an enum name_error for a
 * name, ECONNABORTED for a reset. Puts the name server into the report, as
 * resolve_report().
 */
size_t resolve_host(struct dns_addr *, const char *name,
    const struct io *limits, struct conn_report *);

/* Makes a socket address. */
void resolve_sockaddr(struct target_addr *, const struct dns_addr *,
    uint16_t port);

/*
 * Describes why the last name of resolve_host() has no address. Returns buf, of
 * RESOLVE_TEXT_MAX bytes.
 */
#define RESOLVE_TEXT_MAX 512
const char *resolve_text(char *buf, size_t size);

/*
 * Write the addresses of a result that is not pending, at most max and
 * RESOLVE_MAX. Return how many; or 0 with errno, as resolve_host().
 */
size_t resolve_addrs(struct dns_addr *, const struct dns_result *);
size_t resolve_result(struct target_addr *, size_t max,
    const struct dns_result *, uint16_t port);

/* Puts the server of a failed look-up into the report; otherwise none. */
void resolve_report(struct conn_report *, const struct dns_result *);

#endif
