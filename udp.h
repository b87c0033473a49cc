/* Flows and datagrams: what the mapper of a UDP map is made of. */

#ifndef UDP_H
#define UDP_H

#include "nsfwd.h"

/* flow.c */

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

/* candidate.c */

#define CANDIDATES_MAX 64

/* The addresses that a map's datagrams may go to. */
struct candidates {
	const struct map *map;
	struct target_addr addr_index[CANDIDATES_MAX];
	uint32_t count;
	uint32_t current; /* the one that a new flow begins with */
	msec asked, span; /* when its names were, and how long that took */
};

/*
 * Asks for the names again: once a minute; if a flow has lost its target, after
 * two seconds, or later where an answer takes long. An answer that fails leaves
 * the last one in force. True if it did ask.
 */
bool targets_resolve(struct candidates *, bool lost);

/* Which one the address is, at that index of the port range, or count. */
uint32_t targets_find_address(const struct candidates *,
    const union sockaddr_inet *, uint16_t index);

/*
 * Opens a socket to that one or, failing that, to one after it, and fills in its
 * address. -1 with the first errno, or the one of datagram_exhausted(). The
 * socket is connected, so that it hears of refusals and from nobody else, unless
 * *group is set: of a multicast or broadcast address, from which no answer ever
 * comes, it is not, and hears from everybody.
 */
int targets_open_socket(const struct candidates *, uint32_t first,
    uint16_t index, union sockaddr_inet *, bool *group);

/* datagram.c */

#define BATCH            64                    /* messages in one system call */
#define DATAGRAMS        ((size_t)BATCH * 128) /* which the kernel joins */
#define DATAGRAM_SIZE    65536
#define DATAGRAM_LIMIT   UINT16_MAX /* all that there are go out joined */
#define DATAGRAM_CONTROL 128

struct datagram {
	unsigned char *data;
	size_t length;
	struct flow_key *key;  /* who sent it to which address of ours */
	struct datagram *next; /* of a list to send */
};

/* What one call receives: 4 MiB, of which only what is used is touched. */
struct batch {
	struct datagram datagram[DATAGRAMS];
	size_t count;
	/* private */
	size_t used; /* of what follows, in the last call */
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	struct flow_key key[BATCH];
	_Alignas(8) unsigned char control[BATCH][DATAGRAM_CONTROL];
	unsigned char data[BATCH][DATAGRAM_SIZE];
};

struct send_result {
	unsigned long long datagrams, bytes; /* sent */
	unsigned long long lost;             /* datagrams that were not */
	int error;                           /* why the last of them */
	bool refused;                        /* an earlier one was */
};

/*
 * Sets on a new UDP socket what every socket of a map has: room, fragments
 * instead of EMSGSIZE, and what datagram_receive() wants to be told.
 */
void datagram_set_options(int fd, int family, bool listens, bool offload);

/*
 * Drops what the socket has received, and what it will, until datagram_unmute().
 * -1 with errno: only the first.
 */
int datagram_mute(int fd);

/* What the socket receives from now on is there to be read, and nothing else. */
void datagram_unmute(int fd);

/*
 * Receives what is there: 0, or -1 with errno of recvmmsg(2). What the kernel
 * has joined is taken apart. Of each key, all but the listener is filled in.
 */
int datagram_receive(int fd, struct batch *);

/*
 * Sends a list in order and without waiting: to where the key came from and
 * from where that wrote to, or, without a key, on a connected socket. Those of
 * one size up to *limit, which is adjusted, go out joined. Adds what became of
 * them to *outcome; what meets a refusal is sent once more.
 */
void datagram_send(int fd, const struct flow_key *, uint16_t *limit,
    struct datagram *list, struct send_result *);

/* True for an error by which an ICMP message says that nobody is there. */
bool datagram_is_icmp_error(int err);

/* True if that is known of the first datagram already. On lo it is. */
bool datagram_refused_at_once(int fd);

/*
 * True for one of a socket whose own address has gone, or that somebody has
 * disconnected: another one may do.
 */
bool datagram_lost_way(int err);

/* True for one that says that there are no more sockets, or ports, to be had. */
bool datagram_exhausted(int err);

/* How many have come to the socket and found no room. */
uint32_t datagram_rcvbuf_drops(int fd);

#endif
