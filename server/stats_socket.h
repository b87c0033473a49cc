/* The sockets of --stats and --status. */

#ifndef SERVER_STATS_SOCKET_H
#define SERVER_STATS_SOCKET_H

#include <stdbool.h>

#include "config/map.h"
#include "server/answer.h"
#include "server/service.h"
#include "server/unix_listener.h"

struct config;
struct services;

/* A UNIX socket whose clients are answered. */
struct stats_socket {
	const char *path; /* NULL: there is none */
	char own_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int fd; /* -1: not open */
	struct unix_file file;
	int logged_errno; /* of the last attempt to open the socket */
	struct answers answers;
};

/*
 * Opens the socket. Returns -1, with the reason logged unless it is the same as
 * the last time; with `waits`, the caller tries again later.
 */
int stats_socket_open(struct stats_socket *, bool waits);

/* Logs why the path cannot be listened on, or not yet. May change errno. */
void stats_socket_log_error(const char *path, int err, bool waits);

/*
 * Opens the socket of --status in the first runtime directory that lets it.
 * Without one there is no socket, which is logged with -v only.
 */
void stats_socket_open_status(struct stats_socket *);

/* Opens the socket if it is not open, or anew if its file was replaced. */
void stats_socket_check(struct stats_socket *);

void stats_socket_close(struct stats_socket *);

/* Returns the descriptor to poll for clients; -1: no client can be accepted. */
int stats_socket_pollfd(const struct stats_socket *);

/* Accepts a client, and starts a process that answers it. */
void stats_socket_accept(struct stats_socket *, const struct services *,
    const struct config *);

#define STATS_TCP_FDS 2 /* listeners, one of each family */

/* The TCP listeners of --stats. They are those of a service without mapper. */
struct stats_tcp {
	struct map map; /* map.spec is NULL: there are none */
	struct service service;
	struct answers answers;
};

/*
 * Opens the listeners, or lets them wait as a map does. Returns 0, or the exit
 * status, with the reason logged.
 */
int stats_tcp_open(struct stats_tcp *, const struct config *);

/* Repairs the listeners, and follows their namespace. */
void stats_tcp_check(struct stats_tcp *, const struct config *);

void stats_tcp_close(struct stats_tcp *);

/* Does as stats_socket_pollfd(), for listener i, below STATS_TCP_FDS. */
int stats_tcp_pollfd(const struct stats_tcp *, size_t i);

/* Does as stats_socket_accept(), for listener i. */
void stats_tcp_accept(struct stats_tcp *, size_t i, const struct services *,
    const struct config *);

#endif
