/*
 * Hands UDP sockets of the listen namespace to connections that ask for one.
 *
 * All connections of a map have one end of a SOCK_SEQPACKET pair, and its
 * opener the other. A connection asks by sending one end of a pair of its own,
 * on which it receives the answer.
 */

#ifndef TCP_HANDOVER_H
#define TCP_HANDOVER_H

#include <sys/socket.h>

struct io;

/*
 * In a connection: asks for a UDP socket of a family; io->fd is the channel.
 * Returns the socket, or -1 with errno, which may be that of the opener.
 * A pipe that came with the socket stays open, because its hang-up tells the
 * opener that the association has ended.
 */
int handover_ask(const struct io *io, sa_family_t family);

/*
 * In an opener: receives a request. Returns the descriptor for the answer; -1
 * with errno: 0 if no process has the other end any more, EAGAIN if there is no
 * request.
 */
int handover_receive(int channel, sa_family_t *family);

/*
 * In an opener: answers a request with a socket. Does not wait. Returns the end
 * of a pipe that hangs up when the association ends; or -1 with errno.
 */
int handover_grant(int fd, int udp_fd);

/* In an opener: answers a request with an errno. */
void handover_refuse(int fd, int error);

#endif
