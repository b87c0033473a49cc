/* The server's records of its mappers. */

#ifndef SERVER_MAPPER_PROC_H
#define SERVER_MAPPER_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "mapper/command.h"
#include "mapper/scoreboard.h"

#define KILL_MS    1000 /* from CMD_KILL to SIGKILL */
#define KILL_TRIES 4    /* of CMD_KILL, in KILL_MS */

struct config;
struct service;

/* The server's record of a mapper. */
struct mapper_proc {
	struct mapper_proc *next;
	struct service *service; /* NULL: its map is no longer configured */
	pid_t pid;
	int channel;
	size_t slot;                         /* in the scoreboard */
	uint64_t listen_ns_id, target_ns_id; /* at the start of the mapper */
	msec kill_at;                        /* when to kill it; or NEVER */
	bool ready;                          /* it has replied 0 */
	unsigned n_stops;                    /* signals that stopped it */
	unsigned n_kills;                    /* CMD_KILL, sent to it */
	bool draining;
	bool exited; /* but connections of its process group are still open */
};

/* Creates the scoreboard, and keeps --max-conns. Returns -1 with errno. */
int scoreboard_init(const struct config *);

/* Returns the first of all records, or NULL; the others follow in `next`. */
struct mapper_proc *mapper_list(void);

/*
 * Forks a mapper that takes over the listeners of the service. Returns NULL
 * with errno. The mapper replies once it is ready, or has failed.
 */
struct mapper_proc *mapper_spawn(struct service *, const struct config *);

/*
 * Waits for a reply. Returns -1 with the errno that the mapper sent, with
 * ECONNRESET if it has exited, or ETIMEDOUT.
 */
int mapper_wait_reply(const struct mapper_proc *, msec timeout);

/* Sends a command, and SIGCONT, because the mapper may have been stopped. */
void mapper_send_command(const struct mapper_proc *, enum mapper_command);

/*
 * Makes the mapper drain, and its service have no mapper. Connections that are
 * open after the timeout are killed; -1: no timeout.
 */
void mapper_drain(struct mapper_proc *, msec timeout);

/* Kills the mapper and its connections. */
void mapper_kill(const struct mapper_proc *);

/* Records that the mapper has exited. No limit counts its connections now. */
void mapper_set_exited(struct mapper_proc *);

/* Returns a counter of the mapper. COUNT_OPEN is connections and flows. */
uint64_t mapper_count(const struct mapper_proc *, enum count);

/*
 * Returns true if max= or --max-conns is reached, so that new TCP clients of
 * the mapper wait.
 */
bool mapper_full(const struct mapper_proc *);

/* Returns the state of the mapper, which the mapper can change at any time. */
const struct mapper_state *mapper_state(const struct mapper_proc *);

/*
 * Frees the record; adds the counters to past_counts[] of the service, and
 * leaves it the last error.
 */
void mapper_remove(struct mapper_proc *);

#endif
