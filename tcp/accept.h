/* Accepting connections under the limits of a map. */

#ifndef TCP_ACCEPT_H
#define TCP_ACCEPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct mapper_args;
union sockaddr_inet;

/* The listeners of a map, as one process that accepts has them. */
struct acceptor {
	const struct mapper_args *args;
	uint32_t *queue; /* listeners with clients that wait, a ring */
	uint32_t head, waiting;
	int epoll;
	bool exclusive;    /* other processes accept on them, too */
	uint32_t max_open; /* connections of the map, at most */
	uint32_t n_open;   /* those of this process */
	_Atomic uint32_t
	    *shared_open;  /* the same, where other mappers see it */
	msec paused_until; /* until then nothing is accepted; or 0 */

	/* Is given a client, and its place under the limits, for good. */
	void (*start)(int client, uint16_t index, const union sockaddr_inet *);
};

/* Allocates what it takes. -1 with errno. */
int accept_init(struct acceptor *, const struct mapper_args *, uint32_t slots);

/*
 * Watches the listeners: their number is the data of their events. -1 with
 * errno.
 */
int accept_listen(struct acceptor *, int epoll, bool exclusive);

/* Closes them: nothing is accepted any more. */
void accept_close(struct acceptor *);

/* Handles an event of a listener: accepts one client, if it may. */
void accept_event(struct acceptor *, uint32_t listener, uint32_t events);

/*
 * Goes on where accepting was paused until now, which is given. Returns when
 * that is to be done again, or NEVER.
 */
msec accept_run_timers(struct acceptor *, msec at);

/* Pauses for 100 ms because that call failed; errno says why. */
void accept_pause(struct acceptor *, const char *what);

/* Closes the client, which may not have a connection, and logs why. */
void accept_refuse(const struct acceptor *, int client,
    const union sockaddr_inet *, const char *why);

/* Gives the place of a connection back; or only the one in the scoreboard. */
void accept_release(struct acceptor *);
void accept_uncount(struct acceptor *);

#endif
