/* Connections that each have a process. */

#ifndef TCP_FORK_H
#define TCP_FORK_H

#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"

struct conn;
struct mapper_args;

/*
 * Each connection is a process: the pids are pid[0] up to pid[*used]. Calls
 * ended(i, status) when that of pid[i] has ended. -1 with errno.
 */
int fork_init(const struct mapper_args *, int epoll, uint64_t data, pid_t *pid,
    const uint32_t *used, void (*ended)(uint32_t i, int status));

/* Starts the process of a connection, which is given the client: its pid, or -1. */
pid_t fork_conn(struct conn *);

/* Reaps one that an event tells of. */
void fork_handle_sigchld(void);

/* Reaps all, when that is due; returns when it is, or NEVER. */
msec fork_run_timers(msec at);

#endif
