/* Opening the listeners of a map. */

#ifndef SERVER_LISTEN_H
#define SERVER_LISTEN_H

#include <stdbool.h>

#include "config/map.h"

struct listeners;

/*
 * Opens and binds the map's listeners in its source namespace; nobody can
 * connect to them yet, but to a UNIX socket. 0; or -1 with errno, and *entered
 * 0 if it is the namespace that cannot be entered, see ns_call(). The reason
 * is logged if it is the other and no errno that the caller knows already, in
 * words that fit if it waits. *set has what was opened, for listen_close().
 */
int listen_open(struct listeners *set, const struct map *, enum proto,
    int *entered, int quiet_errno, bool waits);

/*
 * Opens the spares anew, where there are to be any: of the old ones, a mapper
 * that drains may have given some to its clients.
 */
void listen_reopen_udp_relays(struct listeners *, const struct map *);

/* True if the listeners of one map will do for the other. */
bool listen_reusable(const struct map *, const struct map *);

/* How many descriptors, from 3 on, were handed to us by $LISTEN_FDS. */
int systemd_fd_count(void);

/* Has TCP sockets listen, or do so again: 0, or -1, logged unless known. */
int listen_start(const struct listeners *set, const struct map *,
    int quiet_errno);

/* Ends them all, and removes the file of a UNIX socket if it is ours. */
void listen_close(struct listeners *set, const struct map *);

#endif
