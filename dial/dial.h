/* From the targets of a map to a connected socket. */

#ifndef DIAL_DIAL_H
#define DIAL_DIAL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/clock.h"

struct conn;
struct map;

#define TARGET_BACKOFF_MS 10000 /* of a target that failed */

/*
 * Connects to what was asked for or else to the map's targets, each address
 * of each, the port lo + index, and says what hops and targets are to hear
 * first, until call->until; what is left of it is shared evenly among the
 * targets still to try. balance= says where it begins; a target that failed
 * within the last 10 s comes after the others. Gives up when the client resets.
 * A name that is not resolved in its share of the time ends the process.
 * Returns a non-blocking socket that has seen relay_prepare(), or -1 with
 * errno: ETIMEDOUT, ECONNABORTED (the client went away), EACCES (a proxy may
 * not reach it), or that of the last target's first address.
 */
int dial(const struct conn *);

/* The deadline of a connection that began then, by connect-timeout. */
msec connect_deadline(const struct map *, msec started_at);

/* One of the places a map's datagrams may go to. */
struct target_addr {
	struct sockaddr_storage addr; /* with the first port of the range */
	socklen_t length;
	uint32_t target; /* its index in the map */
};

/*
 * Resolves all targets of a UDP map into at most max candidates, in the order
 * they are tried, and returns how many; 0 with errno, or an error of
 * getaddrinfo(3), of the last target. Waits for a name as long as
 * getaddrinfo(3) does.
 */
size_t resolve_targets(const struct map *, struct target_addr *, size_t max);

#define DIAL_RETRY_MS      10 /* while a UNIX listener's backlog is full */
#define DIAL_ADDRESSES_MAX 16 /* of one host name that are tried */

/*
 * How far the search for a connection's target has got: the one policy of which
 * target and address comes next, for how long it is tried, and which error is
 * the one that is told in the end.
 */
struct dialing {
	const struct conn *conn;
	uint64_t tried, backoff;  /* targets, a bit for each */
	uint32_t target;          /* that is tried */
	uint32_t addresses, at;   /* those that it has; which is next */
	int error;                /* of the last target's first address */
	msec deadline;            /* when all of it ends */
	msec target_deadline;     /* the share of the target */
	msec address_deadline;    /* that of the address */
	struct target_addr *list; /* the addresses of a host name */
};

/*
 * Begins. The call has to stay, and so has a list of DIAL_ADDRESSES_MAX, which
 * may be NULL where no target, and no hop, is a host name.
 */
void dial_start(struct dialing *, const struct conn *,
    struct target_addr *list);

/*
 * Goes on to the next address, to be tried until address_until: 0; or -1 when
 * there is none left, with errno. Looks up host names, see dial().
 */
int dial_next(struct dialing *, struct target_addr *);

/* The same address once more. -1 with errno. */
int dial_same(const struct dialing *, struct target_addr *);

/* That address failed, with errno. */
void dial_missed(struct dialing *, const struct target_addr *);

/* The target failed, with errno, although an address of it was reached. */
void dial_failed(struct dialing *);

/* That address was reached. */
void dial_reached(const struct dialing *, const struct target_addr *);

#endif
