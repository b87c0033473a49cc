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
	_Atomic uint32_t live[MAPPERS_MAX]; /* connections of each mapper */
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

/* table.c */

/* One connection. The mapper's own: no connection can write here. */
struct slot {
	deadline born;
	union peer peer; /* v4-mapped ones as v4 */
	uint16_t index;  /* of the port in the map's range */
	uint32_t next;   /* the next free slot */
};

/*
 * slot[i], pid[i] and tally[i] are one connection: process table, limiter,
 * statistics and error report in one. A pid of 0 is a free slot. The pids lie
 * apart since a dead one is searched for among all.
 */
struct table {
	struct slot *slot;
	pid_t *pid;
	struct tally *tally; /* shared with the connections */
	uint32_t used;       /* slots from used on were never taken */
	/* Of the first one only: */
	bool recalled;            /* by the crew, which is not dead */
	_Atomic deadline *failed; /* when each of several targets last did */
};

/*
 * Makes so many tables for so many connections each, to be forked with; those
 * of several are shared. NULL with errno.
 */
struct table *table_open(const struct map *, uint32_t tables, uint32_t room);

/* How many connections of these tables are from there. */
uint32_t table_source(const struct table *, uint32_t tables,
    const union peer *);

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

/*
 * The same of a worker, of whom the number is one in a map with several, with
 * the tables of tcp_equip() and a channel to its crew.
 */
_Noreturn void tcp_work(uint32_t number, int channel);

/* Before the crew closes that channel, which a crew that dies does not say. */
void tcp_recall(void);

/* Logs what became of the connections of a worker that has died; see conn_log(). */
void tcp_lost(uint32_t number, int status);

/* Logs what is open, of all workers, and says so to the server. */
void tcp_table(int channel);

/* conn.c */

/*
 * The life of a connection's process, which a mapper with these descriptors up
 * to last, and in this role of sandbox_confine(), has forked.
 */
_Noreturn void conn_live(struct call *, int last, unsigned role);

/*
 * Logs what became of a connection, by its tally and the status of its end; 0 is
 * also that of one that was ended from here.
 */
void conn_log(const struct map *, const union peer *, deadline born,
    struct tally *, int status);

/* Logs it as it is now, for the table. */
void conn_show(const struct map *, const union peer *, deadline born,
    struct tally *);

/* worker.c */

/*
 * Makes room for so many connections to the map's targets, to be inherited by
 * its workers. -1 with errno.
 */
int worker_equip(const struct map *, uint32_t room);

/*
 * One of them begins: it watches in that epoll, with data from base on, reports
 * in tally[i], and calls ended(i) when i is done and its sockets are closed.
 */
void worker_open(int epoll, uint64_t base, struct tally *,
    void (*ended)(uint32_t i));

/* Takes over the client of a call. */
void worker_begin(uint32_t i, const struct call *);

/* What an event says whose data was so much more than base. */
void worker_event(uint64_t data, uint32_t events);

/* Does what is due; returns for how long there is nothing to do, or -1. */
int worker_run(void);

/* udp.c */

/* The same for UDP flows. */
int udp_equip(const struct post *);
_Noreturn void udp_serve(void);

#endif
