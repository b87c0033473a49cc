/* Opening the sockets of a map, inside its listen namespace. */

#ifndef SERVER_BIND_H
#define SERVER_BIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "config/map.h"

struct endpoint;
struct listener;

#define UDP_RELAYS_MAX 1024 /* associations of a proxy, without udp-ports= */

/* The sockets that a helper is to open, and those that it has opened. */
struct bind_job {
	const struct map *map;
	const struct endpoint *endpoint;
	enum proto proto;
	uint64_t ns_id;             /* of the listen namespace; 0: unknown */
	struct listener *listeners; /* not owned; has room for all sockets */
	size_t n_listeners;
	struct sockaddr_storage addr; /* the address of the last bind(2) */
	unsigned addr_flags; /* IFA_F_TENTATIVE etc., if bind(2) has failed */
};

/* Returns true if an endpoint is a UNIX socket. */
bool endpoint_is_unix(const struct endpoint *);

/* Returns true if an endpoint is an address of loopback, or localhost. */
bool endpoint_is_loopback(const struct endpoint *);

/* Returns true if lo is down in the namespace of a socket. */
bool lo_is_down(int fd);

/* Returns true if the map is a proxy whose clients may use UDP. */
bool map_offers_udp(const struct map *);

/*
 * Returns a UDP socket that is bound to the address of the listener, for the
 * association of a client of that family, or -1 with errno. Of udp-ports= it
 * takes a free port, the one with index *next or a later one; *next becomes the
 * index of the port after that. Called in the listen namespace.
 */
int bind_udp_relay(const struct map *, sa_family_t family, unsigned *next);

/*
 * Opens and binds the sockets of a map. Runs in ns_call(), with a struct
 * bind_job, and allocates nothing. TCP sockets do not listen yet. Returns -1
 * with errno; the caller closes the sockets in the job.
 */
int bind_map(void *job);

/* Sets the options of a listening socket of that family. */
void bind_set_options(const struct bind_job *, int fd, int family);

/*
 * Logs an errno of these functions, with a hint. With `waits`, the line for an
 * absent address says that the map waits to listen.
 */
void bind_log_error(const struct bind_job *, int err, bool waits);

#endif
