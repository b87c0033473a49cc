/* Hands UDP sockets of the listen namespace to connections that ask for one. */

#ifndef TCP_HANDOVER_H
#define TCP_HANDOVER_H

struct io;

/*
 * In a connection: asks the mapper for the UDP socket of its slot, over io->fd,
 * its end of a pair of SOCK_SEQPACKET sockets. Returns the socket, or -1 with
 * errno.
 */
int handover_ask(const struct io *io);

/* In a mapper: answers over its end of the pair. Does not wait. */
void handover_answer(int channel, int udp_fd);

#endif
