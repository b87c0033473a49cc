/* The UNIX socket of --stats, and the processes that answer its clients. */

#ifndef SERVER_STATS_SOCKET_H
#define SERVER_STATS_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

#include "server/unix_listener.h"

struct cred;
struct services;

#define STATS_CLIENTS_MAX 8 /* at a time; others wait in the queue */

struct stats_socket {
	const char *path; /* NULL: there is no --stats */
	int fd;           /* -1: not open */
	struct unix_file file;
	int logged_errno; /* of the last attempt to open the socket */
	pid_t clients[STATS_CLIENTS_MAX]; /* pids that answer; 0: free */
};

/*
 * Opens the socket. Returns -1, with the reason logged unless it is the same as
 * the last time; with `waits`, the caller tries again later.
 */
int stats_socket_open(struct stats_socket *, bool waits);

/* Opens the socket if it is not open, or anew if its file was replaced. */
void stats_socket_check(struct stats_socket *);

void stats_socket_close(struct stats_socket *);

/* Returns the descriptor to poll for clients; -1: no client can be accepted. */
int stats_socket_pollfd(const struct stats_socket *);

/*
 * Accepts a client and forks a process, with the rights of cred, that writes
 * the metrics to it.
 */
void stats_socket_accept(struct stats_socket *, const struct services *,
    const struct cred *);

/* Records that a child of the server has exited; ignores other children. */
void stats_socket_exited(struct stats_socket *, pid_t);

#endif
