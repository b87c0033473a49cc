/* Batches of datagrams. */

#ifndef UDP_DATAGRAM_H
#define UDP_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "udp/flow.h"

#define BATCH_MSGS       64 /* in one recvmmsg(2) or sendmmsg(2) */
#define BATCH_DATAGRAMS  ((size_t)BATCH_MSGS * 128) /* with UDP_GRO */
#define DATAGRAM_SIZE    65536
#define DATAGRAM_CONTROL 128
#define GSO_MAX_ANY      UINT16_MAX /* a gso_max that allows every size */

struct datagram {
	unsigned char *data;
	size_t length;
	struct flow_key *key;  /* sender, and the local address it sent to */
	struct datagram *next; /* in a list to send; NULL: the last */
	uint8_t tos; /* DSCP and ECN: type of service, traffic class */
};

/*
 * The datagrams of one recvmmsg(2), linked in order. The struct takes 4 MiB, of
 * which the kernel provides only the pages that datagrams have used.
 */
struct batch {
	struct datagram datagram[BATCH_DATAGRAMS];
	size_t count;
	/* private */
	size_t n_msgs; /* messages that the last recvmmsg(2) filled */
	struct mmsghdr msg[BATCH_MSGS];
	struct iovec iov[BATCH_MSGS];
	struct flow_key key[BATCH_MSGS];
	_Alignas(8) unsigned char control[BATCH_MSGS][DATAGRAM_CONTROL];
	unsigned char data[BATCH_MSGS][DATAGRAM_SIZE];
};

struct send_result {
	unsigned long long datagrams, bytes; /* sent */
	unsigned long long lost;             /* datagrams that were not sent */
	int error;                           /* errno of the last lost one */
	bool refused; /* an ICMP error about an earlier datagram was pending */
};

/*
 * Sets the options of a new UDP socket of a map: a receive buffer of 4 MiB,
 * fragmentation by the kernel instead of EMSGSIZE, UDP_GRO if `offload`, and in
 * control data the type of service and, on a listener, the local address, see
 * ip(7) and ipv6(7).
 */
void datagram_set_options(int fd, int family, bool listens, bool offload);

/*
 * Receives without waiting, and splits messages that UDP_GRO has joined. Fills
 * in each key except its `listener`. Returns 0, or -1 with errno of
 * recvmmsg(2).
 */
int datagram_receive(int fd, struct batch *);

/*
 * Receives one datagram of at most size bytes, without waiting, into d->data.
 * Fills in all of d but `next`, the local address and the scope included.
 * Returns -1 with errno.
 */
int datagram_receive_one(int fd, struct datagram *d, size_t size);

/* How datagram_send() sends. */
struct send_to {
	int fd;
	sa_family_t family;         /* of the socket */
	const struct flow_key *key; /* to its peer, from its local address; NULL
				       on a connected socket */
	uint16_t *gso_max;
	struct iovec head; /* to be in front of each datagram; length 0: none */
};

/*
 * Sends a list in order, without waiting, each datagram with its tos. Joins
 * equal datagrams of at most *gso_max bytes with UDP_SEGMENT, and lowers
 * *gso_max when the path refuses joined datagrams of a size. Sends a datagram
 * again if the first error was an ICMP error of an earlier one. Adds to
 * *result, the heads not counted.
 */
void datagram_send(const struct send_to *, struct datagram *list,
    struct send_result *result);

/* Returns how many datagrams found the receive buffer of fd full. */
uint32_t datagram_rcvbuf_drops(int fd);

#endif
