/* The host names of the targets of a worker. */

#ifndef TCP_LOOKUP_H
#define TCP_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct dialer;
struct dns_addr;
struct dns_resolver;
struct map;

struct lookup {
	struct dns_resolver *resolver; /* NULL: the map has no names */
	union lookup_room *rooms;
	union lookup_room *first_free; /* of the rooms taken before */
	uint32_t n_used;               /* rooms from here on were never taken */
	msec run_at; /* the latest time of lookup_run(), or NEVER */
};

/*
 * Maps memory for the names of `capacity` connections of each worker that is
 * forked later. Does nothing if the map has no names. Returns -1 with errno.
 */
int lookup_alloc(struct lookup *, const struct map *, uint32_t capacity);

/*
 * Starts in a worker. Returns a descriptor, which is readable when lookup_run()
 * is due; or -1 with errno.
 */
int lookup_open(struct lookup *);

/*
 * Takes room for dialer_init(), until lookup_release_room(); NULL if the map
 * has no names. A connection has no room once it is established, so that names
 * take no memory from then on.
 */
struct dns_addr *lookup_take_room(struct lookup *);
void lookup_release_room(struct lookup *, struct dns_addr *);

/*
 * Looks up the name after DIALER_NAME, and calls dialer_resolved(). Returns
 * false if the name is pending until lookup_run() returns true.
 */
bool lookup_name(struct lookup *, struct dialer *);

/* Does as lookup_name(), but a pending name has failed. */
void lookup_expire(struct lookup *, struct dialer *);

/*
 * Notes that the current address fails. If it was the last one of its name, the
 * name is doubted. Returns true if the target has been restarted, because the
 * name will have a newer result when lookup_run() next returns true; else errno
 * is kept.
 */
bool lookup_addr_failed(struct lookup *, struct dialer *);

/* Continues the queries. Returns true if names that were pending are known. */
bool lookup_run(struct lookup *);

#endif
