/* The state of a UDP mapper. */

#ifndef UDP_STATE_H
#define UDP_STATE_H

#include "base/clock.h"
#include "udp/flow.h"
#include "udp/target.h"

struct map;
struct mapper_args;

/* Why datagrams were not relayed. */
enum drop_reason {
	DROP_SOURCE,   /* the source is invalid or not allowed */
	DROP_LIMIT,    /* flows= or max-source= is reached */
	DROP_UP,       /* the kernel did not send to the target */
	DROP_DOWN,     /* the kernel did not send to the client */
	DROP_OVERFLOW, /* a receive buffer was full */
	DROP_REASONS
};

struct udp_mapper {
	const struct mapper_args *args;
	const struct map *map;
	struct flows flows;
	struct target_addrs targets;
	msec now; /* time after the last epoll_wait(2) or name resolution */
	int epoll;
	unsigned long long drops[DROP_REASONS];
};

#endif
