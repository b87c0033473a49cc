/* Resolves one name: hosts, search list, both families side by side. */

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

/* Where names are looked up. The caller keeps it in place. */
struct dns_source {
	struct dns_files files;
	struct dns_servers servers; /* of dns=; count 0: those of the files */
	_Atomic msec *silent;       /* DNS_SERVERS_MAX of them, or NULL; see
				       struct dns_ask_params */
};

/*
 * One look-up. The caller has the memory, 10 KiB, and nothing is allocated. It
 * is usable before the first dns_query_start() if it is zero.
 */
struct dns_query {
	struct dns_result result; /* see dns_query_run() */
	bool active;              /* a server is being asked */

	/* Its own. */
	char name[DNS_TEXT_SIZE]; /* without the dot at its end */
	bool absolute;            /* it had one */
	bool no_address;          /* said of a candidate, of any */
	unsigned dots, candidate;
	msec until, ready_at;
	struct dns_conf conf;
	struct dns_ask_params params;
	struct dns_ask ask[DNS_FAMILIES];
};

/*
 * Begins to look up a name that is not an address, by RFC 1034 5.3, RFC 6761
 * 6.3 and resolv.conf(5), and ends by DNS_NO_ANSWER at until (NEVER: when the
 * servers' own times are over). A query that is active is stopped first.
 * epfd: an epoll descriptor that gets each socket, level-triggered, with tag
 * as its data; or -1, for dns_query_pollfds(). Returns the status, see
 * dns_query_run(): it may be known at once.
 */
enum dns_status dns_query_start(struct dns_query *, const struct dns_source *,
    const char *name, msec until, int epfd, uint64_t tag);

/*
 * Goes on without waiting. To be called when a descriptor is ready, or
 * dns_query_deadline() has come; any other time does no harm. Returns
 * result.status: DNS_PENDING; DNS_OK once an address is known and the other
 * family has answered or had 50 ms more (RFC 8305 3); or why there is none.
 * While active is true after DNS_OK, the other family is still asked: who does
 * not want to wait for it calls dns_query_stop().
 */
enum dns_status dns_query_run(struct dns_query *);

/* Returns when dns_query_run() is to be called at the latest; or NEVER. */
msec dns_query_deadline(const struct dns_query *);

/* Fills in at most DNS_FDS descriptors and events. Returns how many. */
size_t dns_query_pollfds(const struct dns_query *, struct pollfd *);

/* Closes what is open; a result that is pending becomes DNS_NO_ANSWER. */
void dns_query_stop(struct dns_query *);

#endif
