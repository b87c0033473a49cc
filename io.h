/* Waiting for descriptors: the prototypes of io.c. */

#ifndef IO_H
#define IO_H

#include <poll.h>

#include "nsfwd.h"

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
