/*
 * Passes clients from a mapper to the processes that it keeps, and UDP sockets
 * from the opener of a map to its connections, see unix(7). Each connection has
 * a channel of its own, so that a hijacked one can break no other. The channel
 * to the opener stays open as long as the association.
 */

#ifndef TCP_HANDOVER_H
#define TCP_HANDOVER_H

#include <sys/socket.h>

struct conn;
struct io;

/*
 * In a mapper: makes a channel, and passes one end to the opener. Returns the
 * other end, for the next connection; or -1 with errno. Does not wait.
 */
int handover_offer(int opener);

/*
 * In a connection: asks for a UDP socket of a family; io->fd is the channel.
 * Returns the socket, or -1 with errno, which may be that of the opener.
 */
int handover_ask(const struct io *io, sa_family_t family);

/*
 * In an opener: receives the channel of a connection. Returns -1 with errno: 0
 * if the mapper has exited.
 */
int handover_receive(int mapper);

/*
 * In an opener: reads a request from a channel. Returns -1 with errno: 0 if the
 * connection has closed it, EAGAIN if there is no request.
 */
int handover_read(int channel, sa_family_t *family);

/* In an opener: answers with a socket, or with -1 and an errno. Never waits. */
void handover_answer(int channel, int udp_fd, int error);

/*
 * In a mapper: passes a connection and its client to a process that it has
 * forked. Does not wait. Returns -1 with errno.
 */
int handover_give(int channel, struct conn *);

/* In that process: waits for the next one. Returns -1 at the end. */
int handover_take(int channel, struct conn *);

#endif
