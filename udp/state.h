/* The state of a UDP mapper. */

#ifndef UDP_STATE_H
#define UDP_STATE_H

#include "base/clock.h"
#include "udp/flow.h"
#include "udp/target.h"

struct map;
struct mapper_args;

struct udp_mapper {
	const struct mapper_args *args;
	const struct map *map;
	struct flows flows;
	struct target_addrs targets;
	msec now; /* time after the last epoll_wait(2) or name resolution */
	int epoll;
};

#endif
