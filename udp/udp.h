/* The mapper of a UDP map. */

#ifndef UDP_UDP_H
#define UDP_UDP_H

struct mapper_args;

/* The same for UDP flows. */
int udp_init(const struct mapper_args *);
_Noreturn void udp_run(void);

#endif
