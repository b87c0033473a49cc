/* The table of the connections of a TCP map. */

#ifndef TCP_TABLE_H
#define TCP_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/clock.h"
#include "config/map.h"

struct conn_report;
struct map;
struct target_failures;

/* One connection. No process of a connection can write here. */
struct slot {
	msec started_at;
	union sockaddr_inet peer; /* v4-mapped addresses as IPv4 */
	uint16_t port_index;      /* in the port range of the map */
	uint32_t next_free;       /* in a free slot: index of the next one */
	/* The order in which slots were taken, over all tables of a map with
	 * max-source=; 0: not known yet. */
	_Atomic uint64_t ticket;
};

/*
 * slots[i], pids[i] and reports[i] belong to one connection. The pids have an
 * array of their own because an exited child is searched for in all of them.
 * The arrays are shared. The struct is private to each process, so that no
 * worker can change the pointers of another; `used` and `first_free` are those
 * of the process that takes the slots.
 */
struct table {
	struct slot *slots;
	pid_t *pids;                 /* 0: free, or no process yet */
	struct conn_report *reports; /* shared with the connections */
	uint32_t used;               /* slots from here on were never taken */
	uint32_t first_free; /* the first free slot of those taken before */
	_Atomic uint32_t *shared_used; /* `used`, for other processes */
};

/* Memory that the pool and all its workers write. */
struct tables_shared {
	_Atomic uint64_t tickets;   /* number of tickets given */
	_Atomic bool pool_draining; /* set by the pool before it drains */
	_Atomic uint32_t used[];    /* of each table */
};

/*
 * The tables of a map: one, or one for each worker. A worker takes slots in its
 * own table and reads the others.
 */
struct tables {
	uint32_t count, capacity;
	struct tables_shared *shared;
	struct target_failures *failures; /* NULL if there is one target only */
	struct table items[];
};

/*
 * Makes n tables of `capacity` slots, in memory that is shared with the
 * children of the caller. Returns NULL with errno.
 */
struct tables *tables_init(const struct map *, uint32_t n, uint32_t capacity);

/* Returns how many slots of a table were ever taken, as its process says. */
uint32_t tables_used(const struct tables *, const struct table *);

/*
 * Gives up, in a worker, writing to the tables of all others and seeing their
 * reports. Returns -1 with errno.
 */
int tables_confine(const struct tables *, const struct table *own);

/*
 * Keeps the tables, except the reports and failures, out of all
 * processes that are forked later. Returns -1 with errno.
 */
int tables_hide(struct tables *);

/*
 * Takes a slot for a connection of process `pid`, or 0 if that is not known
 * yet, and returns its index. The caller does not take more than `capacity`
 * slots.
 */
uint32_t table_take(struct table *, pid_t pid, uint16_t port_index,
    const union sockaddr_inet *peer);
void table_release(struct table *, uint32_t i);

/* Copies a report once, because its connection can change it at any time. */
struct conn_report table_report(const struct table *, uint32_t i);

/* Frees all slots. */
void table_reset(struct table *);

/*
 * Gives a slot, which was taken in one of the tables, its ticket. Returns how
 * many connections from the same address have a lower ticket. Processes that
 * call this at the same time count each other in one order, so that together
 * they neither exceed a limit nor stay below it.
 */
uint32_t tables_count_source(struct tables *, struct slot *);

#endif
