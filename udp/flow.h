/* The table of flows. */

#ifndef UDP_FLOW_H
#define UDP_FLOW_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"

struct datagram;

/* Identifies a flow. Without padding, because keys are compared as bytes. */
struct flow_key {
	union sockaddr_inet peer;
	struct in6_addr local; /* peer's destination; IPv4: the first 4 bytes */
	uint32_t listener;     /* index in the mapper's listeners */
};

/* The lists of flows. If room is needed, flows of an earlier list end first. */
enum flow_list {
	FLOW_ONE_WAY,  /* the target has not answered */
	FLOW_ANSWERED, /* the target has answered */
	FLOW_ASSURED,  /* the client has sent after an answer */
	FLOW_LISTS
};

struct source;

struct flow {
	struct flow_key key;
	union sockaddr_inet target;
	struct flow *older, *newer;  /* in its list, by last_used */
	struct flow *next_in_bucket; /* or the next free flow */
	struct source *source;
	struct flow *source_prev, *source_next; /* a ring */
	msec started_at, last_used;
	msec unanswered_at; /* time of the first unanswered datagram; 0: none */
	unsigned long long up, down;                     /* bytes */
	unsigned long long up_datagrams, down_datagrams; /* sent */
	struct datagram *batch_first, *batch_last; /* to send to the target */
	int fd;                            /* to the target; -1: a free flow */
	uint16_t up_gso_max, down_gso_max; /* see datagram_send() */
	uint8_t list;                      /* enum flow_list */
	uint8_t moves; /* from silent targets, since the last answer */
	bool group;    /* the socket is not connected, see targets_open() */
	bool headed;   /* the target has had a PROXY header */
};

/* A client address that has flows, from any port. */
struct source {
	union sockaddr_inet peer; /* port 0 */
	uint32_t n_flows;
	struct flow *ring;             /* one of its flows */
	struct source *next_in_bucket; /* or the next free source */
};

/* A table of at most `cap` flows. Only flow_init() allocates memory. */
struct flows {
	struct flow *items, *free, **buckets;
	struct flow *oldest[FLOW_LISTS], *newest[FLOW_LISTS];
	struct source *sources, *free_source, **source_buckets;
	struct source *largest; /* may have over half of the flows; or NULL */
	uint32_t cap, n_buckets, count;
	uint32_t n_touched, n_touched_sources; /* entries that were ever used */
	uint64_t seed;
};

/* Allocates an empty table. Returns -1 with errno. */
int flow_init(struct flows *, uint32_t cap);

/* Returns NULL if no flow has the key. */
struct flow *flow_find(const struct flows *, const struct flow_key *);

/* Returns how many flows have the address of the client, from any port. */
uint32_t flow_count_source(const struct flows *, const union sockaddr_inet *);

/*
 * Adds the flow, which is flows->free, as the newest one-way flow. The caller
 * has set its key and fd. flows->free becomes another free flow, or NULL.
 */
void flow_add(struct flows *, struct flow *);

/*
 * Returns a flow that can make room for a flow of the client: the least
 * important flow of a sample, from the source that has more than half of all
 * flows, and at least two. Returns NULL if there is no such source, if the
 * client is that source, or if all flows of the sample have datagrams to send.
 */
struct flow *flow_surplus(struct flows *, const union sockaddr_inet *client);

/* Makes the flow the newest of a list. */
void flow_touch(struct flows *, struct flow *, enum flow_list, msec used_at);

/* Makes the flow a free one. The caller has closed its fd. */
void flow_remove(struct flows *, struct flow *);

#endif
