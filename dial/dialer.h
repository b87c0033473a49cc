/* The policy of dialing: which address comes next, and for how long. */

#ifndef DIAL_DIALER_H
#define DIAL_DIALER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

struct conn;
struct dns_addr;
struct endpoint;
struct target_addr;

/*
 * The state of dialing one connection. The driver, dial() or a worker, calls
 * dialer_next(), looks up the name or tries the address. If the address fails,
 * the driver calls dialer_addr_failed() and goes on with dialer_next();
 * otherwise it calls dialer_connected() and stops.
 */
struct dialer {
	const struct conn *conn;
	uint64_t tried;       /* set of targets, a bit each */
	uint64_t backoff;     /* set of targets that failed a short time ago */
	uint32_t target;      /* index of the current target */
	uint32_t n_addrs;     /* attempts at the current target or first hop */
	uint32_t n_tried;     /* attempts so far, the current one included */
	uint32_t n_resolved;  /* addresses of the host name */
	int error;            /* of the first address of the last target */
	int64_t started_us;   /* of the first attempt, by now_us() */
	msec deadline;        /* of all targets: conn->deadline */
	msec target_deadline; /* of the current target */
	msec addr_deadline;   /* of the current address */
	bool wants_name;      /* the host name is to be looked up */
	bool head_start;      /* the first address is also the last attempt */
	struct dns_addr *resolved; /* the addresses of the host name */
	uint32_t serial;  /* of the result that has them; set by the driver */
	uint32_t doubted; /* serial of a result whose addresses failed; or 0 */
};

/*
 * Starts with no target. `conn` and `resolved` must stay as long as the dialer.
 * `resolved` has room for RESOLVE_MAX addresses; it may be NULL if no target
 * and no first hop is a host name.
 */
void dialer_init(struct dialer *, const struct conn *,
    struct dns_addr *resolved);

enum dialer_step {
	DIALER_ADDR,  /* the address is to be tried until addr_deadline */
	DIALER_NAME,  /* the name of dialer_endpoint() is to be looked up until
			 target_deadline, and then dialer_resolved() called */
	DIALER_FAILED /* no address is left; errno is the error of the first
			 address of the last target, or that of its name */
};

/* Moves on to the next address, of the current target or of the next one. */
enum dialer_step dialer_next(struct dialer *, struct target_addr *);

/*
 * Notes that `resolved` has n addresses of the host name, in the order in which
 * to try them. If n is 0, the target has failed, with errno.
 */
void dialer_resolved(struct dialer *, size_t n);

/*
 * Begins the current target anew, because its host name may have other
 * addresses: dialer_next() returns DIALER_NAME.
 */
void dialer_restart_target(struct dialer *);

/* Returns the host name if the current address is its last one, else NULL. */
const char *dialer_last_of_name(const struct dialer *);

/* Gets the current address again. Returns -1 with errno. */
int dialer_current(const struct dialer *, struct target_addr *);

/*
 * Returns the endpoint to connect to: the first hop, or else the current
 * target. Its port is port_first + *index.
 */
const struct endpoint *dialer_endpoint(const struct dialer *, unsigned *index);

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

/* Puts into the report how long dialing took, which has succeeded. */
void dialer_succeeded(const struct dialer *);

#endif
