/* Resolves one name: hosts, search list, both families at the same time. */

#ifndef DNS_QUERY_H
#define DNS_QUERY_H

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "dns/ask.h"
#include "dns/files.h"
#include "dns/name.h"
#include "dns/result.h"

#define DNS_FDS 2 /* descriptors that a query has at most */

/* The files and servers to look names up in. The caller must not move them. */
struct dns_source {
	struct dns_files files;
	struct dns_servers servers; /* of dns=; count 0: use resolv.conf */
	_Atomic msec *silent;       /* DNS_SERVERS_MAX times, or NULL; see
				       struct dns_ask_params */
	dns_prepare *prepare;       /* or NULL */
	const void *prepare_arg;
};

/*
 * One look-up: 10 KiB, in memory of the caller. Nothing is allocated. A query
 * that is all zero is valid, and not active.
 */
struct dns_query {
	struct dns_result result; /* see dns_query_run() */
	bool active;              /* a server is being asked */

	/* private */
	char name[DNS_TEXT_SIZE]; /* without the dot at its end */
	bool absolute;            /* the name had a dot at its end */
	bool no_address;          /* a candidate exists, without address */
	unsigned dots, candidate;
	msec until, ready_at;
	struct dns_conf conf;
	struct dns_ask_params params;
	struct dns_ask ask[DNS_FAMILIES];
};

/*
 * Returns true if no server is asked for a name, without a dot at its end: it
 * is in hosts, or localhost. Reads the file, and does not wait.
 */
bool dns_name_is_local(const struct dns_source *, const char *name);

/*
 * Starts to look up a name that is not an address, by RFC 1034 5.3, RFC 6761
 * 6.3 and resolv.conf(5). Stops the query first if it is active. The query ends
 * with DNS_NO_ANSWER at `until`; if that is NEVER, when all tries have failed.
 * `epfd` is an epoll(7) that each socket is added to, level-triggered, with
 * `tag` as data; or -1 to use dns_query_pollfds(). Returns the status as
 * dns_query_run() does.
 */
enum dns_status dns_query_start(struct dns_query *, const struct dns_source *,
    const char *name, msec until, int epfd, uint64_t tag);

/*
 * Continues without waiting. To be called when a descriptor is ready and when
 * dns_query_deadline() has passed; other calls do no harm. Returns
 * result.status: DNS_PENDING; DNS_OK if one family has an address and the other
 * has answered or had 50 ms more (RFC 8305 3); or the reason of a failure. If
 * `active` is still true after DNS_OK, the other family has not answered yet;
 * dns_query_stop() ends the wait.
 */
enum dns_status dns_query_run(struct dns_query *);

/* Returns the latest time to call dns_query_run() at, or NEVER. */
msec dns_query_deadline(const struct dns_query *);

/* Returns a server that has not answered yet, or NULL if there is none. */
const struct dns_server *dns_query_server(const struct dns_query *);

/* Fills in at most DNS_FDS descriptors and events. Returns how many. */
size_t dns_query_pollfds(const struct dns_query *, struct pollfd *);

/* Closes the sockets. A pending result becomes DNS_NO_ANSWER. */
void dns_query_stop(struct dns_query *);

#endif
