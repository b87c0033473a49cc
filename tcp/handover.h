/*
 * Passes clients from a mapper to the processes that it keeps, and UDP sockets
 * from the opener of a map to its connections, see unix(7). Each
 * connection has a pipe to ask, and a socket for the answer, so that a hijacked
 * one can break no other. It can send nothing to the opener but bytes that
 * nobody reads: a descriptor could make the opener wait, because close(2) can,
 * see SO_LINGER. Both ends stay open as long as the association.
 */

#ifndef TCP_HANDOVER_H
#define TCP_HANDOVER_H

#include <stdbool.h>
#include <sys/socket.h>

struct conn;
struct io;

/* The ends of a connection that its opener has. */
struct handover {
	int ask; /* can be read when the connection asks; hangs up at its end */
	int answer;
	bool six; /* the client has an IPv6 address */
};

/*
 * In a mapper: makes a pipe and a pair, and passes one end of each to the
 * opener. Returns the socket for the answer and sets *ask, for the next
 * connection, whose client is of that family; or -1 with errno, EPIPE if the
 * opener has ended. Does not wait.
 */
int handover_offer(int opener, sa_family_t family, int *ask);

/*
 * In a connection: asks for a UDP socket, and waits for the answer. Returns the
 * socket, or -1 with errno, which may be that of the opener.
 */
int handover_ask(int ask, const struct io *answer);

/*
 * In an opener: receives the ends of a connection. Returns -1 with errno: 0 if
 * the mapper has exited, EMFILE if it could not, and the connection finds its
 * ends closed.
 */
int handover_receive(int mapper, struct handover *);

/* In an opener: answers with a socket, or with -1 and an errno. Never waits. */
void handover_answer(int answer, int udp_fd, int error);

/*
 * In a mapper: passes a connection and its client to a process that it has
 * forked. Does not wait. Returns -1 with errno.
 */
int handover_give(int channel, struct conn *);

/* In that process: waits for the next one. Returns -1 at the end. */
int handover_take(int channel, struct conn *);

#endif
