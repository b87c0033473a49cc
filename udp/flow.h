/* The table of flows. */

#ifndef UDP_FLOW_H
#define UDP_FLOW_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"

struct datagram;

/* What makes a client's datagrams one flow. No padding: it is compared whole. */
struct flow_key {
	union sockaddr_inet peer;
	struct in6_addr local; /* it writes to that; IPv4: the first 4 bytes */
	uint32_t listener;     /* its index */
};

enum flow_list {
	FLOW_ONE_WAY,  /* the target has not answered yet */
	FLOW_ANSWERED, /* it has */
	FLOW_ASSURED,  /* and the client has sent something after that */
	FLOW_LISTS
};

struct source;

struct flow {
	struct flow_key key;
	union sockaddr_inet target;
	struct flow *older, *newer;  /* in its list, by last use */
	struct flow *next_in_bucket; /* in its bucket, or of the free ones */
	struct source *source;
	struct flow *before, *after; /* in the ring of its source's flows */
	msec started_at, last_used;
	msec unanswered; /* first datagram without an answer; 0: none */
	unsigned long long up, down, up_datagrams,
	    down_datagrams; /* bytes; datagrams */
	struct datagram *batch_first,
	    *batch_last;               /* its share of the batch at hand */
	int fd;                        /* to the target; -1: a free flow */
	uint16_t up_limit, down_limit; /* of datagram_send(), for each path */
	uint8_t list;                  /* enum flow_list */
	uint8_t moves; /* to another target, in silence, since an answer */
	bool group;    /* see candidates_open() */
};

/* A client address, whatever its port, that has flows. */
struct source {
	union sockaddr_inet peer; /* its port is 0 */
	uint32_t count;
	struct flow *flow;             /* one of the ring */
	struct source *next_in_bucket; /* in its bucket, or of the free ones */
};

/* A table of at most cap flows; nothing is allocated after flow_init(). */
struct flows {
	struct flow *items, *free, **bucket;
	struct flow *oldest[FLOW_LISTS], *newest[FLOW_LISTS];
	struct source *source, *free_source, **source_bucket;
	struct source *largest; /* the one source that can have most flows */
	uint32_t cap, buckets, count;
	uint32_t used, used_sources; /* were taken at some time */
	uint64_t seed;
};

/* -1 with errno. */
int flow_init(struct flows *, uint32_t cap);
struct flow *flow_find(const struct flows *, const struct flow_key *);

/* How many flows have the address of that client, whatever their port. */
uint32_t flow_count_source(const struct flows *, const union sockaddr_inet *);

/* Enters flows->free, its key and fd filled in, as the newest one-way flow. */
void flow_add(struct flows *, struct flow *);

/*
 * Of a source that has more than half of all flows, one that was silent for long,
 * and is not assured if many are not; it has no share of the batch. NULL where
 * there is no such source, or it is that client's.
 */
struct flow *flow_surplus(struct flows *, const union sockaddr_inet *);

/* It was used at that time, and is the newest of that list. */
void flow_touch(struct flows *, struct flow *, enum flow_list, msec at);

/* Makes it a free one; its descriptor is the caller's to close before. */
void flow_remove(struct flows *, struct flow *);

#endif
