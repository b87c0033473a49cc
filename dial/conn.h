/* An accepted connection on its way to a target. */

#ifndef DIAL_CONN_H
#define DIAL_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"

struct conn_report;
struct endpoint;
struct map;
struct pp_tlvs;
struct target_failures;

/*
 * The process that accepts a client fills in this struct, see tcp/tcp.c; for
 * "-", tcp/stdio.c does. It owns none of the descriptors and pointers.
 */
struct conn {
	const struct map *map;
	int client;               /* -1: standard input and output */
	int udp_answer;           /* to get udp_fd from the opener; -1: none */
	int udp_ask;              /* ... when this was written to */
	int udp_fd;               /* of a client that asked for UDP ASSOCIATE */
	int epoll;                /* for relay(); -1: not made yet */
	bool kept;                /* its process serves more clients later */
	unsigned port_index;      /* index of the port in the listen range */
	union sockaddr_inet peer; /* of the client socket */
	union sockaddr_inet local;    /* address that the client connected to */
	union sockaddr_inet original; /* of a connection that nft redirected:
					 its destination; else unset */
	const struct pp_tlvs *tlvs;   /* of the PROXY header; NULL: none */
	uint32_t seq;                 /* number of connections before */
	struct target_failures *failures; /* of the map; NULL: not kept */
	const struct endpoint *requested; /* dialled in place of the targets
					     of the map; NULL: none */
	msec deadline;                    /* until the target is connected */
	struct conn_report *report;
};

#endif
