/* An accepted connection on its way to a target. */

#ifndef PROXY_CONN_H
#define PROXY_CONN_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"

struct conn_report;
struct endpoint;
struct map;

/* What dial() has to know of a connection. */
struct conn {
	const struct map *map;
	int client;
	int udp_fd;          /* for a proxy: bound where client is; or -1 */
	unsigned port_index; /* of the port in the map's range */
	union sockaddr_inet peer,
	    local;    /* the client, and what it connected to */
	uint32_t seq; /* how many connections there were before */
	_Atomic msec *target_failed_at; /* when each target last did, or NULL */
	const struct endpoint
	    *requested; /* by a proxy's client, for the target */
	msec deadline;  /* 0: dial_until() of now */
	int refused;    /* the error of a write to the target, or 0 */
	struct conn_report *report;
};

#endif
