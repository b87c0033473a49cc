/* The mapper of a TCP map with workers. */

#ifndef TCP_POOL_H
#define TCP_POOL_H

struct mapper_args;

/* The life of the mapper of a map with workers, as of tcp_equip(). */
int pool_init(const struct mapper_args *);
_Noreturn void pool_run(void);

#endif
