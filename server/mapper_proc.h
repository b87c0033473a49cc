/* Mappers as the server sees them. */

#ifndef SERVER_MAPPER_PROC_H
#define SERVER_MAPPER_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "mapper/mapper.h"

struct config;
struct service;

/* A mapper as the server knows it. */
struct mapper_proc {
	struct mapper_proc *next;
	struct service *service; /* NULL: there is no such map any more */
	pid_t pid;
	int channel;
	size_t slot;
	uint64_t listen_ns_id, target_ns_id; /* the namespaces that it serves */
	msec kill_at;     /* it is to be gone then, or NEVER */
	bool ready;       /* it has been heard */
	unsigned n_stops; /* signals that stopped it */
	bool draining, killed;
	bool exited; /* its connections are the server's children now */
};

/* The mapper drains; in that time, if it is not -1, it will be gone. */
void mapper_drain(struct mapper_proc *, msec drain);

/* Makes the board: 0, or -1 with errno. */
int scoreboard_init(void);

/* The first of all that have not been buried, or NULL. */
struct mapper_proc *mapper_list(void);

/*
 * Forks a mapper on the listeners of the service: NULL with errno. It serves
 * from its birth on or ends, but has to be heard.
 */
struct mapper_proc *mapper_spawn(struct service *, const struct config *);

/* Waits so long for the next word of a mapper: 0, or -1 with its errno. */
int mapper_wait_reply(const struct mapper_proc *, msec timeout);

/* A command, and SIGCONT: somebody may have stopped it. */
void mapper_send_command(const struct mapper_proc *, enum mapper_command);

/* Kills it and its connections, which are its process group. */
void mapper_kill(const struct mapper_proc *);

/* It has ended, but not all of its connections: no limit counts those. */
void mapper_keep_orphans(struct mapper_proc *);

uint64_t mapper_count(const struct mapper_proc *, enum count);

/* Frees what is left of one that has ended; its counts go to the service. */
void mapper_remove(struct mapper_proc *);

#endif
