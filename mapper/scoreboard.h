/* The counters of all mappers, which the server and its mappers share. */

#ifndef MAPPER_SCOREBOARD_H
#define MAPPER_SCOREBOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAPPERS_MAX 16384

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
	COUNT_OPEN,     /* open flows; connections are in `live` */
	COUNTS
};

/* The counters of a mapper and its workers, on a page only these can write. */
struct mapper_counts {
	_Atomic uint32_t live; /* open connections */
	_Atomic uint64_t count[COUNTS];
};

/*
 * What the server writes and all mappers read. Each mapper has one slot. Behind
 * the struct each slot has a page with its struct mapper_counts. The server
 * clears that page when the mapper has exited.
 */
struct scoreboard {
	size_t page_size, first_page; /* in bytes */
	void *readonly; /* the same memory, or NULL: see scoreboard_confine() */
	_Atomic uint32_t used; /* no slot from here on was used */
	_Atomic uint32_t service[MAPPERS_MAX];   /* service.number */
	_Atomic uint32_t max_open[MAPPERS_MAX];  /* connections; 0 for UDP */
	_Atomic uint32_t processes[MAPPERS_MAX]; /* that write `live` */
};

/* Maps a scoreboard that future children share. Returns NULL with errno. */
struct scoreboard *scoreboard_create(void);

struct mapper_counts *scoreboard_counts(struct scoreboard *, size_t slot);

/*
 * Gives up, in a mapper, writing to all but the page of its own slot; without
 * `readable` reading the others, too. No call can get that back, except on
 * kernels before 5.1, and where files may not be so large (RLIMIT_FSIZE).
 * Returns -1 with errno.
 */
int scoreboard_confine(struct scoreboard *, size_t slot, bool readable);

/*
 * Keeps the scoreboard out of processes that are forked later; called before
 * scoreboard_confine(). Returns as madvise(2).
 */
int scoreboard_hide(struct scoreboard *);

/*
 * Returns the open connections of a slot, at most as many as the mapper may
 * count: max_open, and one that each process is about to accept.
 */
uint32_t scoreboard_live(struct scoreboard *, size_t slot);

/*
 * Sums up the open connections of all mappers of the slot's service, and of all
 * mappers.
 */
void scoreboard_sum(struct scoreboard *, size_t slot, uint64_t *of_service,
    uint64_t *of_all);

#endif
