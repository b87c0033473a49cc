/* Batches of datagrams. */

#ifndef UDP_DATAGRAM_H
#define UDP_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "udp/flow.h"

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
