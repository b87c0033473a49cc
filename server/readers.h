/* The readers of the figures of a server: --stats, --status, SIGUSR1. */

#ifndef SERVER_READERS_H
#define SERVER_READERS_H

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#include "server/stats_socket.h"

struct config;
struct services;

#define READERS_FDS 4 /* descriptors to poll */

struct readers {
	const struct services *services;
	const struct config *conf;
	struct stats_socket stats, status;
	struct stats_tcp tcp;
	bool table_wanted; /* SIGUSR1 came while another table was printed */
};

/*
 * Prepares the struct, before anything is open, and parses --stats. Keeps both
 * pointers.
 */
void readers_init(struct readers *, const struct services *,
    const struct config *);

/*
 * Opens the sockets. Returns 0, or the exit status if that of --stats cannot be
 * opened, logged.
 */
int readers_open(struct readers *);

/* Opens the socket of --status, once the maps are right. It may be missing. */
void readers_open_status(struct readers *);

/* Returns true if --stats waits for its namespace, address or directory. */
bool readers_wait(const struct readers *);

/* Repairs the socket of --stats. */
void readers_check(struct readers *);

void readers_close(struct readers *);

/* Fills READERS_FDS descriptors to poll for readers. */
void readers_watch(const struct readers *, struct pollfd *);

/* Starts a process for each reader that poll(2) has found. */
void readers_accept(struct readers *, const struct pollfd *);

/*
 * Starts a process that logs the table of SIGUSR1; later, if another table is
 * being printed.
 */
void readers_log_table(struct readers *);

/* Notes that a child of the server has exited; ignores other children. */
void readers_exited(struct readers *, pid_t, int status);

#endif
