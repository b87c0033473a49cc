/* Resolves many names at once for an event loop, and remembers them. */

#ifndef DNS_RESOLVER_H
#define DNS_RESOLVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "dns/query.h"

#define DNS_SLOTS   32  /* queries at the same time; others wait for a slot */
#define DNS_ENTRIES 128 /* names that are cached */

struct dns_entry {
	bool used;
	bool known;   /* result is valid until expires_at */
	bool early;   /* the query has a result, but still runs */
	bool waiting; /* the entry waits for a slot */
	int slot;     /* the slot of the running query, or -1 */
	msec used_at, expires_at, stale_until;
	struct dns_result result;
	char name[DNS_TEXT_SIZE];
};

/* Half a MiB, zeroed, in memory of the caller. Nothing is allocated. */
struct dns_resolver {
	int epfd; /* readable when dns_resolver_run() is due */
	const struct dns_source *source;
	msec limit;      /* time limit of a look-up; 0: none but of tries */
	msec checked_at; /* when the files were last checked */
	struct dns_stamp stamp;
	bool changed;    /* a name has become known since the last run */
	uint32_t serial; /* of the last result */
	struct dns_result pending; /* of the last look-up, if it is pending */
	struct dns_query query[DNS_SLOTS];
	int entry_of[DNS_SLOTS];    /* -1: the slot is free */
	uint32_t hash[DNS_ENTRIES]; /* hash of the name of each entry */
	struct dns_entry entry[DNS_ENTRIES];
};

/* Opens the epoll descriptor. Returns 0, or -1 with errno. */
int dns_resolver_init(struct dns_resolver *, const struct dns_source *,
    msec limit);
void dns_resolver_close(struct dns_resolver *);

/*
 * Looks a name up. Returns the status, and sets *result, which is valid until
 * the next call. DNS_PENDING: a query runs; the caller looks the name up again
 * when dns_resolver_run() has returned true. Look-ups of one name share one
 * query, and dns_result_server() is the server that it waits for. DNS_LOCAL:
 * all 128 entries have a query or wait for one.
 *
 * Addresses are cached for their TTL, from 1 s to 1 h, and are still returned
 * for a second while a new query runs. "No such name" and "no address" are
 * cached for 5 s, other failures for 2 s. The cache is cleared when resolv.conf
 * or hosts has changed, which is checked once a second.
 */
enum dns_status dns_resolver_ask(struct dns_resolver *, const char *name,
    msec now, const struct dns_result **result);

/*
 * Continues the queries. To be called when epfd is readable, and at
 * dns_resolver_deadline(). Returns true if there is a new result since the last
 * call.
 */
bool dns_resolver_run(struct dns_resolver *);

/* Returns the latest time to call dns_resolver_run() at, or NEVER. */
msec dns_resolver_deadline(const struct dns_resolver *);

/*
 * Makes the next look-up of a name start a new query, because the addresses of
 * the result with the number `serial` do not work; 0: those of the last result.
 * A result less than a second old is kept. Returns true if there is a newer
 * result, or will be one.
 */
bool dns_resolver_doubt(struct dns_resolver *, const char *name,
    uint32_t serial);

#endif
