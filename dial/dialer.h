/* The policy of dialing: which address comes next, and for how long. */

#ifndef DIAL_DIALER_H
#define DIAL_DIALER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "dial/resolve.h"

struct conn;
struct endpoint;

/*
 * The state of dialing one connection. The driver, dial() or a worker, calls
 * dialer_next() and tries the address. If that fails, the driver calls
 * dialer_addr_failed() and goes on with dialer_next(); otherwise it calls
 * dialer_connected() and stops.
 */
struct dialer {
	const struct conn *conn;
	uint64_t tried;       /* set of targets, a bit each */
	uint64_t backoff;     /* set of targets that failed a short time ago */
	uint32_t target;      /* index of the current target */
	uint32_t n_addrs;     /* attempts at the current target or first hop */
	uint32_t n_tried;     /* attempts so far, the current one included */
	int error;            /* of the first address of the last target */
	msec deadline;        /* of all targets: conn->deadline */
	msec target_deadline; /* of the current target */
	msec addr_deadline;   /* of the current address */
	bool head_start;      /* the first address is also the last attempt */
	struct target_addr *resolved; /* the addresses of a host name */
};

/*
 * Starts with no target. `conn` and `resolved` must stay as long as the dialer.
 * `resolved` has room for RESOLVE_MAX addresses; it may be NULL if no target
 * and no first hop is a host name.
 */
void dialer_init(struct dialer *, const struct conn *,
    struct target_addr *resolved);

/*
 * Moves on to the next address, of the current target or of the next one, and
 * resolves host names, see resolve_host(). Returns -1 with errno if no address
 * is left: the error of the first address of the last target.
 */
int dialer_next(struct dialer *, struct target_addr *);

/* Gets the current address again. Returns -1 with errno. */
int dialer_current(const struct dialer *, struct target_addr *);

/* Returns the current target. Its port is port_first + *index. */
const struct endpoint *dialer_target(const struct dialer *, unsigned *index);

/* Notes that the current address failed, with errno. */
void dialer_addr_failed(struct dialer *, const struct target_addr *);

/*
 * Notes that the current target failed, with errno, although an address was
 * connected. Its other addresses are not tried.
 */
void dialer_target_failed(struct dialer *);

/* Notes that the current address is connected. */
void dialer_connected(const struct dialer *, const struct target_addr *);

#endif
