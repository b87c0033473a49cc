/* The counters of all mappers, which the server and its mappers share. */

#ifndef MAPPER_SCOREBOARD_H
#define MAPPER_SCOREBOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"
#include "config/map.h"
#include "mapper/target_state.h"

struct conn_report;

#define MAPPERS_MAX       16384
#define HISTOGRAM_BUCKETS 10 /* with a bound; one more has none */

/* Why datagrams were not relayed. */
enum drop_reason {
	DROP_SOURCE,   /* the source is invalid or not allowed */
	DROP_LIMIT,    /* flows= or max-source= is reached */
	DROP_UP,       /* the kernel did not send to the target */
	DROP_DOWN,     /* the kernel did not send to the client */
	DROP_OVERFLOW, /* a receive buffer was full */
	DROP_REFUSED,  /* sent, but the target or a router refused it */
	DROP_REASONS
};

/* The counters of a mapper, from its start on. */
enum count {
	COUNT_STARTED,      /* connections, or flows */
	COUNT_FAILED,       /* connections that reached no target */
	COUNT_DENIED,       /* clients that allow= or deny= keeps out */
	COUNT_CROWDED,      /* clients that max-source= keeps out */
	COUNT_UNAUTHORIZED, /* clients of a proxy without the right password */
	COUNT_PAUSED,       /* times that accept paused */
	COUNT_UP,           /* bytes; a connection adds its own when it ends */
	COUNT_DOWN,
	COUNT_SENT,     /* datagrams to targets */
	COUNT_RECEIVED, /* datagrams to clients */
	COUNT_DROPPED,  /* datagrams that were not forwarded, by reason */
	COUNT_OPEN = COUNT_DROPPED + DROP_REASONS, /* open flows; connections
						      are in `live` */
	COUNT_DIAL, /* buckets of a histogram, and the sum in usec behind */
	COUNT_LIFE = COUNT_DIAL + HISTOGRAM_BUCKETS + 2,
	COUNTS = COUNT_LIFE + HISTOGRAM_BUCKETS + 2
};

/*
 * The last error of a mapper. Workers write it side by side, so that it can be
 * a mixture of two errors.
 */
struct mapper_error {
	_Atomic msec at;    /* 0: there was none */
	int32_t error;      /* errno or enum name_error */
	int32_t hop_status; /* as in a report */
	uint32_t target;
	union sockaddr_inet peer;   /* of the target; or unset */
	union sockaddr_inet server; /* as in a report */
};

/* A limit that was reached, for the log: see tcp/accept.c. */
struct limit_state {
	_Atomic msec end_at;    /* 0: it is not reached */
	_Atomic uint64_t count; /* times that a client met it */
};

enum limit {
	LIMIT_MAX,
	LIMIT_MAX_CONNS,
	LIMIT_SOURCE,
	LIMITS
};

/* The state of the targets, as a mapper and its workers have last seen it. */
struct mapper_state {
	struct target_states targets;
	struct limit_state limits[LIMITS];
	struct mapper_error error;
};

/* The counters of a mapper and its workers, on a page only these can write. */
struct mapper_counts {
	_Atomic uint32_t live; /* open connections */
	_Atomic uint64_t count[COUNTS];
	struct mapper_state state;
};

/* The bounds of COUNT_DIAL and COUNT_LIFE, in milliseconds. */
extern const msec histogram_dial[HISTOGRAM_BUCKETS];
extern const msec histogram_life[HISTOGRAM_BUCKETS];

/* Counts a time in microseconds in one of the two histograms. */
void histogram_add(_Atomic uint64_t *counts, enum count histogram, int64_t us);

/* Records the error of a report. */
void scoreboard_set_error(struct mapper_error *, const struct conn_report *);

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
