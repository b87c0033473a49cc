/* The table of the connections of a TCP map. */

#ifndef TCP_TABLE_H
#define TCP_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/clock.h"

struct conn_report;
struct map;

/* One connection. The mapper's own: no connection can write here. */
struct slot {
	msec started_at;
	union sockaddr_inet peer; /* v4-mapped ones as v4 */
	uint16_t index;           /* of the port in the map's range */
	uint32_t next;            /* the next free slot */
	/* In the order in which the slots of all tables were taken; 0: not yet
	 * known. Of a map with max-source. */
	_Atomic uint64_t ticket;
};

/*
 * slot[i], pid[i] and tally[i] are one connection: process table, limiter,
 * statistics and error report in one. A pid of 0 is a free slot. The pids lie
 * apart since a dead one is searched for among all.
 */
struct table {
	struct slot *slots;
	pid_t *pids;
	struct conn_report *reports; /* shared with the connections */
	uint32_t used;               /* slots from used on were never taken */
	/* Of the first one only: */
	bool pool_draining;       /* by the crew, which is not dead */
	_Atomic uint64_t tickets; /* so many were given */
	_Atomic msec *failed;     /* when each of several targets last did */
};

/*
 * Makes so many tables for so many connections each, to be forked with; those
 * of several are shared. NULL with errno.
 */
struct table *table_init(const struct map *, uint32_t tables,
    uint32_t capacity);

/*
 * Gives a slot of one of these tables, whose pid is set, its ticket. Returns how
 * many connections were there before it from the same source. Of processes that
 * do this at the same time each counts those whose ticket is lower, and no
 * other: together they do not exceed a limit, nor stay below it.
 */
uint32_t table_count_source(struct table *, uint32_t tables, struct slot *);

#endif
