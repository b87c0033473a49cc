/* Hands UDP sockets of the listen namespace to connections that ask for one. */

#ifndef TCP_HANDOVER_H
#define TCP_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

struct io;

/*
 * A channel for the connections of one slot, one after the other: a pair of
 * SOCK_SEQPACKET sockets, of which the mapper holds both.
 */
struct handover {
	int mapper_end, conn_end;
	uint32_t relay; /* its UDP sockets: the index in those of a family */
	bool broken;    /* by a hijacked process: not used any more */
	bool answered;
};

/* Opens a channel. Returns -1 with errno. */
int handover_init(struct handover *);

/*
 * In a connection: asks the mapper for the UDP socket of its slot; io->fd is
 * conn_end. Returns the socket, or -1 with errno.
 */
int handover_ask(const struct io *io);

/* In a mapper: answers the first request of a connection. Does not wait. */
int handover_answer(struct handover *, int udp_fd);

/* Discards, when a connection has exited, what is left in its channel. */
void handover_reset(struct handover *);

#endif
