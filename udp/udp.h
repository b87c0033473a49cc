/* The mapper of a UDP map. */

#ifndef UDP_UDP_H
#define UDP_UDP_H

struct mapper_args;

/*
 * Allocates all memory and watches the listeners and the channel. The arguments
 * must stay valid. Returns 0, or -1 with errno.
 */
int udp_init(const struct mapper_args *);

/* Relays datagrams until the server sends CMD_DRAIN or closes the channel. */
_Noreturn void udp_run(void);

#endif
