/* Moves bytes between two stream sockets. */

#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

struct conn_report;
struct timeouts;

#define RELAY_COPY 65536 /* bytes that are read at a time */

/*
 * Moves bytes both ways between two non-blocking stream sockets until both
 * directions have ended, and sets tally->end. 0 when every byte was delivered
 * and both ends were passed on; else -1, and both sockets, which have seen
 * relay_prepare(), are left so that close(2), or the end of the process, resets
 * them, once what the one peer sent before it failed has reached the other. If
 * inet is true both are of TCP. An error is one that a write to the server has
 * met: nothing more goes there; 0: none.
 */
int relay(int client, int server, bool both_tcp, int error,
    const struct timeouts *, struct conn_report *);

enum relay_peer {
	RELAY_CLIENT,
	RELAY_TARGET
};

/* One direction of a connection. */
struct relay_dir {
	int in, out;
	int pipe[2];     /* -1 until splice pays */
	bool pipe_tried; /* to make the pipe */
	bool readable, writable, eof, done;
	bool read_to_eagain;  /* a short read may have left something */
	bool in_spill;        /* what is held lies in own */
	int spent;            /* the error of from, if a read will not see it */
	unsigned char *spill; /* RELAY_COPY bytes, for what is kept */
	unsigned char *data;  /* what was read and not yet sent */
	size_t buffered;      /* so many bytes */
	size_t in_pipe;       /* in the pipe */
	uint64_t *count;      /* bytes delivered */
};

/*
 * A connection; half[RELAY_CLIENT] reads from the client, the other from the
 * server.
 */
struct relay {
	struct relay_dir dirs[2];
	bool failed[2]; /* the socket has met an error */
	bool runnable;  /* it still moves: its next turn needs no event */
	bool drains;    /* it failed, and delivers what came before the error */
	int error;      /* the first one, or 0; ELOOP: it spins */
	int error_side; /* whose error it was */
	int spurious_wakeups; /* wake-ups in a row that had no cause */
	size_t left;          /* bytes to be delivered by a pair that drains */
	msec moved_at;        /* when they last became fewer */
};

/*
 * A connection begins: own are 2 * RELAY_COPY bytes, in pages
 * of its own, for what a peer does not take at once. The descriptors of the
 * server may be filled in later. Both sockets are of TCP if inet is true.
 */
void relay_init(struct relay *, int client, int server, bool both_tcp,
    unsigned char *own, struct conn_report *);

/* Adds a socket to an epoll, for relay_event() to hear of its events. */
int relay_register(int epoll, int fd, uint64_t data);
void relay_event(struct relay *, int peer, uint32_t events);

/*
 * Moves what can be moved: 0 to go on, 1 when both directions have ended, -1 on
 * error, after which the sockets have no more turns. A pair that drains has its
 * next turn after IO_POLL_ACKED_MS, if no event comes before.
 */
int relay_step(struct relay *);

/* How long nothing may happen to it as it is now; 0: for ever. */
msec relay_timeout(const struct relay *, const struct timeouts *);

/*
 * Frees all but the sockets, which are the caller's to close, and sets
 * tally->end by what relay_step() said, or, for 0, as one that was idle for too
 * long. Returns as relay() does.
 */
int relay_finish(struct relay *, int ended, struct conn_report *);

#endif
