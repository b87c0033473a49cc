/* Moves the bytes of one connection, or in steps those of many. */

#ifndef RELAY_H
#define RELAY_H

#include "nsfwd.h"

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
int relay(int client, int server, bool inet, int error, const struct times *,
    struct tally *);

/* Urgent data in line: accept(2) hands that down to no UNIX socket. */
void relay_inline(int fd);

enum relay_side {
	RELAY_CLIENT,
	RELAY_SERVER
};

/* One direction of a connection. */
struct half {
	int from, to;
	int pipe[2]; /* -1 until splice pays */
	bool tried;  /* to make the pipe */
	bool readable, writable, eof, done;
	bool wary;          /* a short read may have left something */
	bool kept;          /* what is held lies in own */
	int spent;          /* the error of from, if a read will not see it */
	unsigned char *own; /* RELAY_COPY bytes, for what is kept */
	unsigned char *at;  /* what was read and not yet sent */
	size_t held;        /* so many bytes */
	size_t queued;      /* in the pipe */
	uint64_t *count;    /* bytes delivered */
};

/*
 * A connection; half[RELAY_CLIENT] reads from the client, the other from the
 * server.
 */
struct pair {
	struct half half[2];
	bool broken[2]; /* the socket has met an error */
	bool busy;      /* it still moves: its next turn needs no event */
	bool drains;    /* it failed, and delivers what came before the error */
	int error;      /* the first one, or 0; ELOOP: it spins */
	int blame;      /* whose error it was */
	int in_vain;    /* wake-ups in a row that had no cause */
	size_t left;    /* bytes to be delivered by a pair that drains */
	deadline moved_at; /* when they last became fewer */
};

/*
 * A connection begins: own are 2 * RELAY_COPY bytes, in pages
 * of its own, for what a peer does not take at once. The descriptors of the
 * server may be filled in later. Both sockets are of TCP if inet is true.
 */
void relay_begin(struct pair *, int client, int server, bool inet,
    unsigned char *own, struct tally *);

/* Adds a socket to an epoll, for relay_note() to hear of its events. */
int relay_watch(int epoll, int fd, uint64_t data);
void relay_note(struct pair *, int side, uint32_t events);

/*
 * Moves what can be moved: 0 to go on, 1 when both directions have ended, -1 on
 * error, after which the sockets have no more turns. A pair that drains has its
 * next turn after IO_LOOK_MS, if no event comes before.
 */
int relay_turn(struct pair *);

/* How long nothing may happen to it as it is now; 0: for ever. */
deadline relay_patience(const struct pair *, const struct times *);

/*
 * Frees all but the sockets, which are the caller's to close, and sets
 * tally->end by what relay_turn() said, or, for 0, as one that was idle for too
 * long. Returns as relay() does.
 */
int relay_end(struct pair *, int ended, struct tally *);

#endif
