/* Accepts clients under the limits of a map. */

#ifndef TCP_ACCEPT_H
#define TCP_ACCEPT_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/clock.h"
#include "mapper/scoreboard.h"

struct mapper_args;
union sockaddr_inet;

/* The listeners of a map, as one process watches them. */
struct acceptor {
	const struct mapper_args *args;
	uint32_t *queue; /* a ring of listeners that are not watched */
	uint32_t head, waiting;
	int epoll;
	uint32_t events;   /* to watch a listener for */
	uint32_t max_open; /* connections, in all processes of the map */
	uint32_t n_open;   /* open connections of this process */
	_Atomic uint32_t *shared_open; /* of the mapper, on the scoreboard */
	struct limit_state *limits;    /* of the mapper, on the scoreboard */
	msec paused_until; /* 0: accepting; NEVER: until accept_release() */

	/* Takes over an accepted client, which counts as open from now on. */
	void (*start)(void *context, int client, uint16_t port_index,
	    const union sockaddr_inet *peer);
	void *context;
};

/* Prepares all but start and context. Returns -1 with errno. */
int accept_init(struct acceptor *, const struct mapper_args *);

/*
 * Watches the listeners in `epoll`, with their index as the data of an event.
 * `flags` is EPOLLEXCLUSIVE if other processes watch them, too, or else 0.
 * Returns -1 with errno.
 */
int accept_listen(struct acceptor *, int epoll, uint32_t flags);

/* Closes the listeners, and logs the end of each limit that was reached. */
void accept_close(struct acceptor *);

/*
 * Handles an event of a listener: accepts one client, if the limits allow it.
 */
void accept_event(struct acceptor *, uint32_t listener, uint32_t events);

/*
 * Ends a pause whose time has come, and logs the end of limits that no client
 * meets any more. Returns when to call it again, or NEVER.
 */
msec accept_run_timers(struct acceptor *, msec now);

/* Pauses for 100 ms, and logs that `call` failed with errno. */
void accept_pause(struct acceptor *, const char *call);

/*
 * Closes a client that is not allowed a connection, counts it, and logs why.
 */
void accept_refuse(const struct acceptor *, int client,
    const union sockaddr_inet *peer, const char *why, enum count);

/*
 * Count a connection as ended: accept_release() one of this process,
 * accept_uncount() one of a worker that has exited.
 */
void accept_release(struct acceptor *);
void accept_uncount(struct acceptor *);

#endif
