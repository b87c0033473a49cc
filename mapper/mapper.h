/* The contract between the server and its mappers. */

#ifndef MAPPER_MAPPER_H
#define MAPPER_MAPPER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct map;

/* A bound socket of a map: the server opens it, a mapper accepts on it. */
struct listener {
	int fd;
	uint16_t port_index; /* its port, counted from the map's first port */
	sa_family_t family;
};

/* The counters of a mapper, from its start on. */
enum count {
	COUNT_STARTED, /* connections, or flows */
	COUNT_FAILED,  /* connections that reached no target */
	COUNT_REFUSED, /* clients that were not allowed */
	COUNT_UP,      /* bytes; a connection adds its own when it ends */
	COUNT_DOWN,
	COUNT_SENT,     /* datagrams to targets */
	COUNT_RECEIVED, /* datagrams to clients */
	COUNT_DROPPED,  /* datagrams that were not forwarded */
	COUNT_OPEN,     /* open flows; connections are in live[] */
	COUNTS
};

#define MAPPERS_MAX 16384

/*
 * Counters that the server shares with all mappers and their workers. Each
 * mapper has one slot, an index of the arrays.
 *
 * The server writes `used` and `service`, and clears a slot when its mapper has
 * exited. A mapper and its workers write live[] and count[] of their own slot
 * only, and read live[] and service[] of all slots for the limits. A connection
 * process has no access, because the mapping has MADV_DONTFORK.
 *
 * A mapper shares other memory with its connections: see tcp/table.h.
 */
struct scoreboard {
	_Atomic uint32_t used;              /* no slot from here on was used */
	_Atomic uint32_t live[MAPPERS_MAX]; /* open connections */
	_Atomic uint32_t service[MAPPERS_MAX]; /* service.number */
	_Atomic uint64_t count[MAPPERS_MAX][COUNTS];
};

/* The arguments that the server starts a mapper with. A mapper changes none. */
struct mapper_args {
	const struct map *map;
	const struct listener *listeners;
	size_t n_listeners;
	size_t n_udp_relays; /* UDP sockets behind the listeners, for a proxy */
	int channel;         /* to the server, see mapper/command.h */
	struct scoreboard *scoreboard;
	size_t slot;             /* of this mapper */
	_Atomic uint64_t *count; /* scoreboard->count[slot] */
	uint32_t max_conns;      /* of all mappers together; 0: no limit */
	unsigned role;           /* for sandbox_seccomp(); 0: no filter */
};

#endif
