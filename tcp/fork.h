/* The mapper of a TCP map without workers: a process for each connection. */

#ifndef TCP_FORK_H
#define TCP_FORK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct conn;
struct mapper_args;
struct tcp;

/* Prepares the mapper. Returns -1 with errno. */
int fork_init(const struct mapper_args *);

/* Accepts clients until it has drained, then exits. */
_Noreturn void fork_run(void);

/*
 * Opens a signalfd for SIGCHLD, which the caller has blocked. Returns -1 with
 * errno.
 */
int sigchld_open(void);

/*
 * Does as fork(2). The child must not call raise(3) or abort(3), because musl
 * finds the thread ID of the parent there.
 */
pid_t fork_process(void);

/* Sets the title of a process to its client and map. */
void fork_set_title(const struct conn *);

/*
 * Returns true if a client may ask for UDP. A client with a PROXY header may
 * not, because its datagrams come from another address.
 */
bool fork_may_use_udp(const struct tcp *, const struct conn *);

/*
 * Logs the end of the opener, which has been reaped. Only the server could
 * start another, with a new mapper.
 */
void fork_opener_ended(struct tcp *, int status);

/* Handles a command of the server: sends rows, or drains. */
void fork_handle_command(struct tcp *);

/* Returns the highest descriptor of a mapper that has opened `last` last. */
int fork_highest_fd(const struct mapper_args *, int last);

/*
 * Keeps memory that only the mapper uses, and `own`, out of the processes of
 * connections, so that fork(2) is cheap and no connection can change the
 * limits. Returns -1 with errno.
 */
int fork_hide_memory(const struct tcp *, void *own, size_t size);

#endif
