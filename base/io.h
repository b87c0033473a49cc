/* Waits for sockets, and sends and receives whole messages until a deadline. */

#ifndef BASE_IO_H
#define BASE_IO_H

#include <poll.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/clock.h"

/* A non-blocking socket and the limits of waiting for it. */
struct io {
	int fd;
	int abort_fd; /* its reset ends a wait with ECONNABORTED; -1: none */
	msec deadline;
};

/*
 * Examines the first length bytes of a stream, at least one. Returns the length
 * of the message that they begin with; 0 if more bytes are needed; -1 with
 * errno if they begin no message. The result does not depend on how the bytes
 * were split into packets.
 */
typedef ssize_t io_parser(const unsigned char *data, size_t length, void *arg);

/* Sets errno. Returns -1. */
int fail_errno(int err);

/*
 * Waits until fd has one of the events of poll(2). Returns 0, or -1 with errno.
 */
int io_wait_for(const struct io *, short events);

/* Sends length bytes. Returns 0, or -1 with errno. */
int io_write_all(const struct io *, const void *data, size_t length);

#define IO_PEEK 4096 /* bytes at a time */

/*
 * Receives one message of at most size bytes, and no byte behind it, but
 * IO_PEEK of those may be left in `data`. Returns its length; or -1 with errno:
 * ETIMEDOUT, EMSGSIZE if size bytes hold no whole message, ECONNRESET if the
 * stream ended early, or errno of the parser.
 */
ssize_t io_read_message(const struct io *io, unsigned char *data, size_t size,
    io_parser *parse, void *arg);

/*
 * Waits until one of n descriptors has one of its events, and sets revents to
 * the events that count. Returns how many descriptors have such events; or -1
 * with errno: ETIMEDOUT, or that of poll(2). POLLERR, POLLHUP and POLLNVAL
 * count if they are in `events`, or with POLLIN or POLLOUT, because a read or
 * write fails on them. poll(2) reports these three in any case. If they do not
 * count, io_wait() ignores the descriptor until it returns, because the same
 * event would end poll(2) again at once.
 */
int io_wait(struct pollfd *, size_t n, msec deadline);

/*
 * Connects to the UNIX socket at a path. Returns a non-blocking descriptor, or
 * -1 with errno of connect(2); ETIMEDOUT if its backlog is full until then.
 */
int io_connect_unix(const char *path, msec deadline);

/*
 * Returns how many bytes the peer of a TCP socket has not acknowledged,
 * counting the end of stream as one; 0 for any other socket.
 */
size_t io_unacked(int fd);

#define IO_STALL_MS      1000 /* without an acknowledgement, until a reset */
#define IO_POLL_ACKED_MS 10   /* no event reports acknowledgements: poll them */

/*
 * Waits until the peer has acknowledged all bytes, so that a reset discards
 * none. Returns early if the peer acknowledges nothing for IO_STALL_MS, or if
 * the connection has ended.
 */
void io_wait_acked(int fd);

/*
 * Opens a non-blocking pipe of `size` bytes, or of what the limits of pipe(7)
 * leave, at least size_min. Returns 0, or -1 and no pipe.
 */
int io_pipe(int ends[2], int size, int size_min);

/* Closes both ends, and sets them to -1. */
void io_close_pipe(int ends[2]);

#endif
