/* Opening the sockets of a map, inside its listen namespace. */

#ifndef SERVER_BIND_H
#define SERVER_BIND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "config/map.h"

struct endpoint;
struct listener;

#define UDP_RELAYS 64 /* UDP sockets of a proxy, of each family */

/* What a helper opens, and where it failed. */
struct bind_job {
	const struct map *map;
	const struct endpoint *endpoint;
	enum proto proto;
	bool udp_relay;             /* the sockets are UDP relays */
	struct listener *listeners; /* not owned; room for all */
	size_t n_listeners;
	size_t n_udp_relays;          /* behind the listeners */
	struct sockaddr_storage addr; /* that was tried last */
	unsigned addr_flags; /* of addr if bind(2) failed: IFA_F_TENTATIVE */
};

/* Returns true if an endpoint is a UNIX socket. */
bool endpoint_is_unix(const struct endpoint *);

/* Returns true if the clients of a map, a proxy, may use UDP. */
bool map_has_udp_relays(const struct map *);

/*
 * For ns_call(), with a struct bind_job: opens and binds all sockets of the map,
 * or only the UDP relays. TCP sockets do not listen yet. Returns -1 with errno;
 * the caller closes what was opened. Neither allocates.
 */
int bind_map(void *job);
int bind_udp_relays(void *job);

/* Sets the options of a listening socket of that family. */
void bind_set_options(const struct bind_job *, int fd, int family);

/*
 * Logs that a socket cannot be opened, with a hint; with `waits` and an errno of
 * listen_absent(), that the map waits.
 */
void bind_log_error(const struct bind_job *, int err, bool waits);

#endif
