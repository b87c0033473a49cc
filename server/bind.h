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

#define UDP_RELAYS 64 /* UDP sockets of a proxy, of each family, by default */

/* The sockets that a helper is to open, and those that it has opened. */
struct bind_job {
	const struct map *map;
	const struct endpoint *endpoint;
	enum proto proto;
	uint64_t ns_id;             /* of the listen namespace; 0: unknown */
	bool udp_relay;             /* the sockets are UDP relays */
	bool reopens;               /* the relays replace those of a mapper */
	struct listener *listeners; /* not owned; has room for all sockets */
	size_t n_listeners;
	size_t n_udp_relays; /* in `listeners`, after the first n_listeners */
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
bool map_has_udp_relays(const struct map *);

/* Returns how many UDP relays of each family the map has: by udp-ports=. */
unsigned map_count_udp_relays(const struct map *);

/*
 * Open and bind the sockets of a map; bind_udp_relays() only the UDP relays.
 * They run in ns_call(), with a struct bind_job, and allocate nothing. TCP
 * sockets do not listen yet. Return -1 with errno; the caller closes the
 * sockets in the job.
 */
int bind_map(void *job);
int bind_udp_relays(void *job);

/* Sets the options of a listening socket of that family. */
void bind_set_options(const struct bind_job *, int fd, int family);

/*
 * Logs an errno of these functions, with a hint. With `waits`, the line for an
 * absent address says that the map waits to listen.
 */
void bind_log_error(const struct bind_job *, int err, bool waits);

#endif
