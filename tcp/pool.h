/* The mapper of a TCP map with workers: the parent of the workers. */

#ifndef TCP_POOL_H
#define TCP_POOL_H

struct mapper_args;

/* Prepares the pool. Returns -1 with errno. */
int pool_init(const struct mapper_args *);

/* Keeps the workers running until they have drained, then exits. */
_Noreturn void pool_run(void);

#endif
