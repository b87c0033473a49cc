/* The mapper of a TCP map without workers: a process for each connection. */

#ifndef TCP_FORK_H
#define TCP_FORK_H

struct mapper_args;

/* Prepares the mapper. Returns -1 with errno. */
int fork_init(const struct mapper_args *);

/* Accepts clients until it has drained, then exits. */
_Noreturn void fork_run(void);

/*
 * Opens a signalfd for SIGCHLD, which the caller has blocked. Returns -1 with
 * errno.
 */
int sigchld_open(void);

#endif
