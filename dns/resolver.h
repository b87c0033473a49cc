/* Resolves many names at once for an event loop, and remembers them. */

#ifndef DNS_RESOLVER_H
#define DNS_RESOLVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "dns/query.h"

#define DNS_SLOTS   32  /* queries at the same time; others wait for a slot */
#define DNS_ENTRIES 128 /* names that are remembered */

struct dns_entry {
	bool used;
	bool known;   /* result counts until expires_at */
	bool waiting; /* for a slot */
	int slot;     /* the query that is under way, or -1 */
	msec used_at, expires_at, stale_until;
	struct dns_result result;
	char name[DNS_TEXT_SIZE];
};

/* The caller has the memory, half a MiB, zeroed; nothing is allocated. */
struct dns_resolver {
	int epfd; /* to be watched for reading: then dns_resolver_run() */
	const struct dns_source *source;
	msec limit;      /* of a look-up, a span; 0: the servers' own times */
	msec checked_at; /* when the files were looked at */
	struct dns_stamp stamp;
	bool changed; /* a name has become known since the last run */
	struct dns_query query[DNS_SLOTS];
	int entry_of[DNS_SLOTS];    /* -1: the slot is free */
	uint32_t hash[DNS_ENTRIES]; /* of each entry's name, side by side */
	struct dns_entry entry[DNS_ENTRIES];
};

/* Opens the epoll descriptor. Returns 0, or -1 with errno. */
int dns_resolver_init(struct dns_resolver *, const struct dns_source *,
    msec limit);
void dns_resolver_close(struct dns_resolver *);

/*
 * Looks a name up; now is the time of the owner's loop. Returns the status,
 * and in *result what is known, which is valid until the next call.
 * DNS_PENDING: the name is being asked for, and is to be looked up again when
 * dns_resolver_run() has returned true; it is asked for once, however often it
 * is looked up. Addresses are kept as long as their TTL says, from 1 s to 1 h,
 * and are still given out for a second while they are asked for anew. That
 * there is no name or no address is kept for 5 s, another failure for 2 s.
 * When resolv.conf or hosts has changed, which is looked at once a second, all
 * is forgotten. DNS_LOCAL: as many as 128 names are being asked for.
 */
enum dns_status dns_resolver_ask(struct dns_resolver *, const char *name,
    msec now, const struct dns_result **result);

/*
 * Goes on: to be called when epfd is readable, and at the deadline. Returns
 * true if the result of a name has become known since the last call.
 */
bool dns_resolver_run(struct dns_resolver *);

/* Returns when dns_resolver_run() is to be called at the latest; or NEVER. */
msec dns_resolver_deadline(const struct dns_resolver *);

/*
 * Lets the next look-up of a name ask anew, because its addresses do not work.
 * What is younger than a second stays.
 */
void dns_resolver_doubt(struct dns_resolver *, const char *name);

#endif
