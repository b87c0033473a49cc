/*
 * From the targets of a map to a connected socket, in steps, for those who do
 * not wait for one connection; nsfwd.h has dial(), which does.
 */

#ifndef DIAL_H
#define DIAL_H

#include "nsfwd.h"

#define DIAL_RETRY_MS      10 /* while a UNIX listener's backlog is full */
#define DIAL_ADDRESSES_MAX 16 /* of one host name that are tried */

/* balance.c */

/* The targets that failed within the last 10 s, a bit for each. */
uint64_t balance_backoff(const struct conn *);

/* The next target that was not tried; first those not in backoff. */
size_t balance_next(const struct conn *, uint64_t tried, uint64_t backoff);

/* From now on that target is in backoff. */
void balance_failed(const struct conn *, size_t target);

/* attempt.c */

/* What became of connecting a socket. */
enum attempt {
	ATTEMPT_DONE,
	ATTEMPT_WAIT,  /* until it is writable, then attempt_result() */
	ATTEMPT_RETRY, /* in DIAL_RETRY_MS */
	ATTEMPT_FAILED /* with errno */
};

/* Opens a socket as the map wants it. -1 with errno. */
int attempt_open(const struct map *, int family);

enum attempt attempt_connect(int fd, const struct target_addr *);
enum attempt attempt_result(int fd, const struct target_addr *);

/* dial.c */

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
