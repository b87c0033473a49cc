/* The result of a connection. */

#ifndef BASE_REPORT_H
#define BASE_REPORT_H

#include <stdint.h>

#include "base/addr.h"

#define HOSTPORT_MAX 264 /* HOST:PORT, with its NUL */

/* How a connection ended, as it says itself. */
enum end_reason {
	END_NONE,     /* it did not say: killed or crashed */
	END_CLOSED,   /* both sides ended, every byte delivered */
	END_DIAL,     /* no target could be reached */
	END_CLIENT,   /* the client reset it or could not be written to */
	END_TARGET,   /* the target did */
	END_IDLE,     /* a time limit passed */
	END_LOCAL,    /* something this machine ran out of */
	END_HANDSHAKE /* the client did not say, or show, what it had to */
};

/*
 * What a connection reports. It lies in memory shared with the mapper, which
 * prints it and acts on none of it.
 */
struct conn_report {
	uint64_t up, down; /* bytes delivered to the target, to the client */
	int32_t resolving, end, error;
	uint32_t target;          /* index of the one dialled last */
	union sockaddr_inet peer; /* and its address, once known; not of UNIX */
	union sockaddr_inet client;   /* as a PROXY header has it; else zero */
	int32_t hop_status;           /* what a hop said; 0: nothing bad */
	char requested[HOSTPORT_MAX]; /* of a proxy, HOST:PORT */
};

#endif
