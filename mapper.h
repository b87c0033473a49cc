/* What a mapper is born with, and how it lives. */

#ifndef MAPPER_H
#define MAPPER_H

#include "nsfwd.h"

/* What a mapper counts from its birth on. */
enum count {
	COUNT_BEGUN,   /* connections, or flows */
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
struct board {
	_Atomic uint32_t used; /* slots from this on were never taken */
	_Atomic uint32_t live[MAPPERS_MAX];    /* connections of each mapper */
	_Atomic uint32_t service[MAPPERS_MAX]; /* of each: equal for mappers of
						  one map, before and after a reload */
	_Atomic uint64_t count[MAPPERS_MAX][COUNTS];
};

/* What a mapper is born with. */
struct post {
	const struct map *map;
	struct listener *listener;
	size_t listeners;
	size_t spares; /* UDP sockets behind them, for a proxy */
	int channel;   /* to the server: ends when the server does */
	struct board *board;
	size_t own;              /* which slot of the board is this one's */
	_Atomic uint64_t *count; /* and that of its counts */
	uint32_t max_conns;      /* over all mappers */
	unsigned role;           /* of sandbox_confine(); 0: without filters */
};

/* What the server may write into the channel, a byte. */
enum order {
	ORDER_DRAIN = 'd', /* close the listeners, finish, exit */
	ORDER_KILL = 'k',  /* reset every connection, exit */
	ORDER_TABLE = 't'  /* log what is open, then answer with an int, 0 */
};

/* crew.c */

/* The life of the mapper of a map with workers, as of tcp_equip(). */
int crew_equip(const struct post *);
_Noreturn void crew_serve(void);

/* tcp.c */

/*
 * The life of a mapper of TCP connections, in its destination namespace: it
 * makes its tables and opens its events, 0 or -1 with errno, and then serves.
 */
int tcp_equip(const struct post *);
_Noreturn void tcp_serve(void);

/* udp.c */

/* The same for UDP flows. */
int udp_equip(const struct post *);
_Noreturn void udp_serve(void);

#endif
