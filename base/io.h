/* Waiting for sockets, and whole messages on them, until a deadline. */

#ifndef BASE_IO_H
#define BASE_IO_H

#include <poll.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/clock.h"

/* A non-blocking socket, and how long one waits for it. */
struct io {
	int fd;
	int abort_fd; /* waiting ends when it resets: ECONNABORTED; -1: none */
	msec deadline;
};

/*
 * Looks at the first bytes of what comes, one or more: how many of them are
 * the message; 0 if it takes more than these; -1 with errno if it is none.
 * However the bytes come in, the answer is the same.
 */
typedef ssize_t io_parser(const unsigned char *data, size_t length, void *arg);

/* -1, with that errno. */
int fail_errno(int err);

/* Waits for one of the events of poll(2): 0, or -1 with errno. */
int io_wait_for(const struct io *, short events);

/* Sends all of it: 0, or -1 with errno. */
int io_write_all(const struct io *, const void *data, size_t length);

/*
 * Receives one message and no byte behind it: its length; or -1 with errno:
 * ETIMEDOUT, EMSGSIZE not in so many bytes, ECONNRESET it broke off, or the
 * parser's.
 */
ssize_t io_read_message(const struct io *io, unsigned char *data, size_t size,
    io_parser *parse, void *arg);

/* The time until then, for poll(2); -1 for NEVER. */
int io_timeout(msec deadline);

/*
 * Waits until one of n descriptors has one of its events, which are then in its
 * revents. Returns how many have; or -1 with errno, ETIMEDOUT or poll(2)'s.
 *
 * Whoever waits for POLLIN or POLLOUT also gets POLLERR, POLLHUP and POLLNVAL,
 * because a read or a write meets them. Otherwise these count only where they
 * are among the events. poll(2) reports them all the same; io_wait() then looks
 * away from that descriptor until it returns. So an event that nobody waits for
 * wakes nobody twice.
 */
int io_wait(struct pollfd *, size_t n, msec deadline);

/*
 * Returns how many bytes the peer of a TCP socket has not acknowledged, the end
 * of stream being one; 0 for any other socket, whose peer has them at once.
 */
size_t io_unacked(int fd);

/* A peer that takes nothing for this long is not waited for. */
#define IO_STALL_MS 1000
/* How often io_unacked() is asked: no event tells. */
#define IO_POLL_ACKED_MS 10

/*
 * Waits until the peer has acknowledged all that was sent to it, so that a reset
 * throws nothing away; or takes nothing for IO_STALL_MS, or is gone.
 */
void io_wait_acked(int fd);

#endif
