/* The listeners of a map: opening, reusing and closing them. */

#ifndef SERVER_LISTEN_H
#define SERVER_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include "config/map.h"
#include "server/unix_listener.h"

struct listener;

#define LISTEN_BACKLOG 4096

/* All sockets of one map and protocol. */
struct listeners {
	struct listener *items; /* owned, as are the descriptors */
	size_t count;
	struct unix_file file; /* of a UNIX listener with a path */
};

/*
 * Opens and binds the listeners of a map in its listen namespace. Clients
 * cannot connect before listen_start(), unless the listener is a UNIX path.
 * Returns -1 with errno. *entered is then 0 if the namespace cannot be entered,
 * see ns_call(); otherwise the errno is logged, unless it is quiet_errno. For
 * `waits` see bind_log_error(). The caller passes *set to listen_close() in any
 * case.
 */
int listen_open(struct listeners *set, const struct map *, enum proto,
    int *entered, int quiet_errno, bool waits);

/* Returns true if the listeners of one map suit the other map. */
bool listen_reusable(const struct map *, const struct map *);

/*
 * Calls listen(2) on the stream sockets that do not listen yet, or no longer.
 * Returns -1 with errno, logged unless it is quiet_errno.
 */
int listen_start(const struct listeners *, const struct map *, int quiet_errno);

/*
 * Closes the listeners and removes the file of a UNIX socket. No TCP client can
 * connect from then on, even if a mapper has a listener open.
 */
void listen_close(struct listeners *, const struct map *);

#endif
