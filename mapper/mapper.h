/* The contract between the server and its mappers. */

#ifndef MAPPER_MAPPER_H
#define MAPPER_MAPPER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct map;

/* A bound socket of a map: the server opens it, the mapper accepts on it. */
struct listener {
	int fd;
	uint16_t port_index; /* of its port in the map's range */
	sa_family_t family;
};

/* All of one map. */
struct listeners {
	struct listener *items; /* owned, as are the descriptors */
	size_t count;
	size_t
	    n_udp_relays; /* behind these, UDP sockets for a proxy's clients */
	dev_t dev;        /* of the file that a UNIX socket made */
	ino_t ino;
};

/* What a mapper counts from its birth on. */
enum count {
	COUNT_STARTED, /* connections, or flows */
	COUNT_FAILED,  /* connections that reached no target */
	COUNT_REFUSED, /* clients that may not have a connection */
	COUNT_UP,      /* bytes; those of a connection when it has ended */
	COUNT_DOWN,
	COUNT_SENT,     /* datagrams, to targets */
	COUNT_RECEIVED, /* to clients */
	COUNT_DROPPED,  /* datagrams that did not go on */
	COUNT_OPEN,     /* connections or flows, now */
	COUNTS
};

#define MAPPERS_MAX 16384

/* Shared by the server and all mappers, and with no connection. */
struct scoreboard {
	_Atomic uint32_t used; /* slots from this on were never taken */
	_Atomic uint32_t live[MAPPERS_MAX];    /* connections of each mapper */
	_Atomic uint32_t service[MAPPERS_MAX]; /* of each: equal for mappers of
						  one map, before and after a reload */
	_Atomic uint64_t count[MAPPERS_MAX][COUNTS];
};

/* What a mapper is born with. */
struct mapper_args {
	const struct map *map;
	struct listener *listeners;
	size_t n_listeners;
	size_t n_udp_relays; /* UDP sockets behind them, for a proxy */
	int channel;         /* to the server: ends when the server does */
	struct scoreboard *scoreboard;
	size_t slot;             /* which slot of the board is this one's */
	_Atomic uint64_t *count; /* and that of its counts */
	uint32_t max_conns;      /* over all mappers */
	unsigned role;           /* of sandbox_confine(); 0: without filters */
};

/* What the server may write into the channel, a byte. */
enum mapper_command {
	CMD_DRAIN = 'd', /* close the listeners, finish, exit */
	CMD_KILL = 'k',  /* reset every connection, exit */
	CMD_DUMP = 't'   /* log what is open, then answer with an int, 0 */
};

#endif
