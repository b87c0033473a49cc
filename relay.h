/* Moves bytes between two stream sockets. */

#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/report.h"

struct timeouts;

#define RELAY_COPY 65536 /* bytes of one read into a buffer */

/* A socket of a relay, and the index of the direction that reads from it. */
enum relay_peer {
	RELAY_CLIENT,
	RELAY_TARGET
};

/* One direction: from the socket `in` to the socket `out`. */
struct relay_dir {
	int in, out;
	int pipe[2]; /* -1 while the direction copies */
	bool pipe_tried;
	bool readable, writable;
	bool read_to_eagain;  /* a short read may leave bytes in the socket */
	bool eof;             /* `in` has reached its end */
	bool done;            /* nothing moves in this direction any more */
	bool in_spill;        /* `data` points into `spill` */
	bool cut;             /* the last splice(2) to `out` moved a part */
	int consumed_error;   /* the error of `in`, if no read will return it */
	uint32_t copied;      /* the most bytes of one read into a buffer */
	unsigned char *spill; /* RELAY_COPY bytes, not owned */
	unsigned char *data;  /* bytes read and not yet written */
	size_t buffered;      /* number of bytes at `data` */
	size_t in_pipe;       /* bytes in the pipe */
	uint64_t *count;      /* bytes written, for the report */
	int64_t skipped;      /* bytes read from `in` before the relay, or -1 */
};

/* One connection: dirs[RELAY_CLIENT] reads from the client. */
struct relay {
	struct relay_dir dirs[2];
	bool failed[2]; /* the socket of that peer has met an error */
	bool runnable;  /* the next step needs no event */
	bool draining;  /* delivering the bytes that arrived before an error */
	int error;      /* the first error, or 0; ELOOP: the relay spins */
	enum end_reason error_end; /* END_ value for `error` */
	int spurious_wakeups;      /* in a row that moved nothing */
	size_t undelivered;        /* bytes left to deliver, while draining */
	msec progress_at;          /* when `undelivered` last fell */
};

/*
 * Relays between two non-blocking stream sockets until both directions have
 * ended, and sets report->up, down, end and error. The caller has called
 * sock_set_stream_options() for both sockets, and still owns them. `both_tcp`
 * is true if neither is a UNIX socket. `target_error` is 0, or an error as for
 * relay_target_failed(). `times` limits how long nothing may move. `epoll` has
 * no other sockets, and keeps these two, which the caller removes or closes.
 *
 * Returns 0 when all bytes and both ends of stream are delivered. Otherwise
 * returns -1, and close(2) resets both sockets.
 */
int relay(int epoll, int client, int target, bool both_tcp, int target_error,
    const struct timeouts *times, struct conn_report *);

/*
 * The functions below do the same for an event loop with many connections. The
 * loop calls relay_init(), relay_register() for both sockets, relay_event() and
 * relay_step() for each event, and relay_finish().
 */

/*
 * Prepares a relay. `spill` points to 2 * RELAY_COPY bytes, aligned to a page,
 * for bytes that a peer does not take at once; it must stay until
 * relay_finish(). The caller may set the descriptors of the target later.
 */
void relay_init(struct relay *, int client, int target, bool both_tcp,
    unsigned char *spill, struct conn_report *);

/* Adds a socket to an epoll, edge-triggered. Returns -1 with errno. */
int relay_register(int epoll, int fd, uint64_t data);

/*
 * Records an error of the target's socket that no read will return, because a
 * write or SO_ERROR has returned it. The relay writes nothing more to the
 * target, but still delivers the bytes that the target has sent before.
 */
void relay_target_failed(struct relay *, int error);

/* Records the epoll events of a peer's socket for the next step. */
void relay_event(struct relay *, int peer, uint32_t events);

/*
 * Moves the bytes that can be moved without waiting. Returns 0 to go on, 1 when
 * both directions have ended, or -1 after an error; relay_finish() is due after
 * 1 and -1. A runnable relay needs its next step at once, a draining one after
 * relay_timeout() at the latest.
 */
int relay_step(struct relay *);

/* Returns the time limit, in ms, of the relay's present state; 0 means none. */
msec relay_timeout(const struct relay *, const struct timeouts *);

/*
 * Frees everything but the sockets, wipes the buffers, and sets report->end and
 * error by `result`: the last result of relay_step(), where 0 means that a time
 * limit has passed. Returns as relay() does.
 */
int relay_finish(struct relay *, int result, struct conn_report *);

#endif
