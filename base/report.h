/*
 * The result of a connection. The struct is defined here because relay.c, which
 * may use base/ only, and the rooms that dial both write it.
 */

#ifndef BASE_REPORT_H
#define BASE_REPORT_H

#include <stdint.h>

#include "base/addr.h"

#define HOSTPORT_MAX 264 /* bytes of "HOST:PORT" with its NUL */
#define METHOD_MAX   24

/* How a connection ended. */
enum end_reason {
	END_NONE,     /* unknown: the process was killed or crashed */
	END_CLOSED,   /* both directions ended, every byte delivered */
	END_DIAL,     /* no target accepted */
	END_CLIENT,   /* the client has reset, or could not be written to */
	END_TARGET,   /* the target has reset, or could not be written to */
	END_IDLE,     /* a timeout passed */
	END_LOCAL,    /* this machine lacked a resource */
	END_HANDSHAKE /* the client sent no valid PROXY header or request */
};

/*
 * The mapper zeroes a report when the connection starts; from then on only the
 * connection's process or worker writes. The mapper prints a report and adds
 * its bytes to the counters, but decides nothing by it, because a client that
 * has hijacked a connection can write anything, also into the other reports of
 * the map.
 */
struct conn_report {
	uint64_t up, down;  /* bytes delivered to the target, to the client */
	int64_t dial_us;    /* until it was connected, and 1; 0: it was not */
	int32_t end;        /* enum end_reason */
	int32_t error;      /* errno or enum name_error; or 0 */
	int32_t hop_status; /* reply code of a hop that refused; or 0 */
	uint32_t target;    /* index of the target dialed last */
	union sockaddr_inet server; /* that did not resolve a name; or unset */
	union sockaddr_inet peer;   /* address of that target; unset if UNIX */
	union sockaddr_inet client; /* from a PROXY header; else unset */
	/* Fields of a proxy client; its text is unchecked, or "". */
	uint32_t n_requests;
	int32_t authorized; /* 1: the last request had the right password */
	char method[METHOD_MAX]; /* or the protocol, of the last request */
	char requested[HOSTPORT_MAX];
};

#endif
