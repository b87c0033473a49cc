/* Flows and datagrams: what the mapper of a UDP map is made of. */

#ifndef UDP_H
#define UDP_H

#include "nsfwd.h"

/* flow.c */

/* What makes a client's datagrams one flow. No padding: it is compared whole. */
struct flow_key {
	union peer peer;
	struct in6_addr local; /* it writes to that; IPv4: the first 4 bytes */
	uint32_t listener;     /* its index */
};

enum flow_list {
	FLOW_ONE_WAY, /* the target has not answered yet */
	FLOW_ANSWERED
};

struct flow {
	struct flow_key key;
	union peer target;
	struct flow *older, *newer; /* in its list, by last use */
	struct flow *chain;         /* in its bucket, or of the free ones */
	deadline born, seen;
	unsigned long long up, down, sent, received; /* bytes; datagrams */
	struct datagram *first, *last; /* its share of the batch at hand */
	int fd;                        /* to the target; -1: a free flow */
	enum flow_list list;
	uint32_t candidate; /* which of them the target is */
};

/* A table of at most cap flows; nothing is allocated after flow_table(). */
struct flows {
	struct flow *flow, *free, **bucket;
	struct flow *oldest[2], *newest[2]; /* of each list */
	uint32_t cap, buckets;
	uint64_t seed;
};

/* -1 with errno. */
int flow_table(struct flows *, uint32_t cap);
struct flow *flow_find(const struct flows *, const struct flow_key *);

/* How many flows have the address of that client, whatever their port. */
uint32_t flow_count_source(const struct flows *, const union peer *);

/* Enters flows->free, its key and fd filled in, as the newest one-way flow. */
void flow_add(struct flows *, struct flow *);

/* It was used at that time, and is the newest of that list. */
void flow_touch(struct flows *, struct flow *, enum flow_list, deadline at);

/* Makes it a free one; its descriptor is the caller's to close before. */
void flow_remove(struct flows *, struct flow *);

/* datagram.c */

#define BATCH            64                    /* messages in one system call */
#define DATAGRAMS        ((size_t)BATCH * 128) /* which the kernel joins */
#define DATAGRAM_SIZE    65536
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

struct outcome {
	unsigned long long datagrams, bytes; /* sent */
	unsigned long long lost;             /* datagrams that were not */
	int error;                           /* why the last of them */
	bool refused;                        /* an earlier one was */
};

/*
 * Sets on a new UDP socket what every socket of a map has: room, fragments
 * instead of EMSGSIZE, and what datagram_receive() wants to be told.
 */
void datagram_prepare(int fd, int family, bool listens, bool offload);

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
void datagram_send(int fd, const struct flow_key *, size_t *limit,
    struct datagram *list, struct outcome *);

/* True for an error by which an ICMP message says that nobody is there. */
bool datagram_refused(int err);

/* How many have come to the socket and found no room. */
uint32_t datagram_overflow(int fd);

#endif
