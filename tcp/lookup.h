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
	union lookup_room *first_free; /* a free room that was taken before */
	uint32_t n_used;               /* rooms from here on were never taken */
	msec run_at; /* the latest time of lookup_run(), or NEVER */
};

/*
 * Maps memory for the names of `capacity` connections of each worker that is
 * forked later. Does nothing if the map has no names. Returns -1 with errno.
 */
int lookup_alloc(struct lookup *, const struct map *, uint32_t capacity);

/*
 * Starts the resolver of a worker. Returns a descriptor, which is readable when
 * lookup_run() is due; or -1 with errno.
 */
int lookup_open(struct lookup *);

/*
 * Returns room for the addresses of dialer_init(), or NULL if the map has no
 * names. lookup_release_room() gives the room back once a connection is
 * established, so that established connections take no memory for names.
 */
struct dns_addr *lookup_take_room(struct lookup *);
void lookup_release_room(struct lookup *, struct dns_addr *);

/*
 * Looks up the name after DIALER_NAME, and calls dialer_resolved(). Returns
 * false if the name is pending until lookup_run() returns true.
 */
bool lookup_name(struct lookup *, struct dialer *);

/* Does as lookup_name(), but counts a pending name as failed. */
void lookup_expire(struct lookup *, struct dialer *);

/*
 * Notes that the current address has failed. If that was the last address of a
 * name, calls dns_resolver_doubt(), and restarts the target if a newer result
 * will come. Returns true then: the name is pending until lookup_run() returns
 * true. Otherwise keeps errno.
 */
bool lookup_addr_failed(struct lookup *, struct dialer *);

/* Continues the queries. Returns true if a pending name has a result. */
bool lookup_run(struct lookup *);

#endif
