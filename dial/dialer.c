/* Chooses the next address to dial, and how long it is tried. */

/*
 * Theory of operation
 *
 * A map has targets, and a target has one or more addresses. With hops, the
 * addresses are those of the first hop, whatever the target. balance.c chooses
 * the order of targets; the order of addresses is that of the resolver.
 *
 * The time until the connection's deadline is divided evenly: each target gets
 * an even share of what is left for itself and the targets after it, and each
 * address an even share of its target's time. So an address that fails at once
 * leaves its time to the others.
 *
 * A target has failed when its last address has; it is then in backoff. Its
 * error is that of its first address, because that one is meant to work.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/report.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/balance.h"
#include "dial/conn.h"
#include "dial/dialer.h"
#include "dial/resolve.h"
#include "proxy/reach.h"

void
dialer_init(struct dialer *d, const struct conn *conn,
    struct target_addr *resolved)
{
	*d = (struct dialer){
	    .conn = conn,
	    .backoff = balance_backoff(conn),
	    .deadline = conn->deadline,
	    .resolved = resolved,
	};
}

const struct endpoint *
dialer_target(const struct dialer *d, unsigned *index)
{
	const struct conn *conn = d->conn;
	const struct endpoint *target =
	    conn->requested ? conn->requested : &conn->map->targets[d->target];

	*index = target->port_first == target->port_last ? 0 : conn->port_index;
	return target;
}

/* Returns the endpoint to connect to: the first hop, or else the target. */
static const struct endpoint *
next_endpoint(const struct dialer *d, unsigned *index)
{
	if (!d->conn->map->n_hops)
		return dialer_target(d, index);
	*index = 0;
	return &d->conn->map->hops[0].ep;
}

/* Returns the time until which the first of `left` attempts is tried. */
static msec
share_of_time(msec deadline, size_t left)
{
	msec at;

	if (deadline == NEVER || left == 1)
		return deadline;
	at = now_ms();
	return at >= deadline ? deadline : at + (deadline - at) / (msec)left;
}

/*
 * Returns how many addresses the current target has, or 0 with errno. The
 * report says that a name is being resolved, because the process may end by
 * SIGALRM.
 */
static size_t
find_addrs(const struct dialer *d)
{
	struct conn_report *report = d->conn->report;
	unsigned index;
	const struct endpoint *ep = next_endpoint(d, &index);
	size_t n;

	if (ep->kind != EP_HOST)
		return literal_count(ep);
	report->resolving = 1;
	n = resolve_host(d->resolved, ep, index, d->target_deadline);
	report->resolving = 0;
	return n;
}

static size_t
count_untried(const struct dialer *d)
{
	size_t left = d->conn->requested ? 1 : d->conn->map->n_targets;

	for (uint64_t bits = d->tried; bits; bits &= bits - 1)
		left--;
	return left;
}

/*
 * Moves on to the next target, which may have no address. Returns false if no
 * target is left.
 */
static bool
next_target(struct dialer *d)
{
	struct conn_report *report = d->conn->report;
	size_t left = count_untried(d);

	if (!left)
		return false;
	d->target = (uint32_t)balance_next(d->conn, d->tried, d->backoff);
	d->tried |= (uint64_t)1 << d->target;
	d->target_deadline = share_of_time(d->deadline, left);
	report->target = d->target;
	report->peer.sa.sa_family = AF_UNSPEC;
	report->hop_status = 0;
	d->n_tried = 0;
	d->n_addrs = (uint32_t)find_addrs(d);
	if (!d->n_addrs)
		dialer_target_failed(d);
	return true;
}

int
dialer_current(const struct dialer *d, struct target_addr *to)
{
	unsigned index;
	const struct endpoint *ep = next_endpoint(d, &index);

	if (ep->kind == EP_HOST)
		*to = d->resolved[d->n_tried - 1];
	else if (literal_addr(to, ep, index, d->n_tried - 1) == -1)
		return -1;
	return ep == d->conn->requested &&
		!reach_allows(d->conn->map, &to->addr)
	    ? fail_errno(EACCES)
	    : 0;
}

int
dialer_next(struct dialer *d, struct target_addr *to)
{
	for (;;) {
		while (d->n_tried == d->n_addrs)
			if (!next_target(d))
				return fail_errno(d->error);
		d->addr_deadline =
		    share_of_time(d->target_deadline, d->n_addrs - d->n_tried);
		d->n_tried++;
		if (dialer_current(d, to) == 0)
			return 0;
		dialer_addr_failed(d, to);
	}
}

/* Puts the address into the report, unless it is a hop's or a UNIX socket's. */
static void
report_addr(const struct dialer *d, const struct target_addr *to)
{
	if (!d->conn->map->n_hops && to->length &&
	    to->addr.ss_family != AF_UNIX)
		memcpy(&d->conn->report->peer, &to->addr, to->length);
}

void
dialer_addr_failed(struct dialer *d, const struct target_addr *to)
{
	if (d->n_tried == 1) {
		d->error = errno;
		report_addr(d, to);
	}
	if (d->n_tried == d->n_addrs)
		balance_failed(d->conn, d->target);
}

void
dialer_target_failed(struct dialer *d)
{
	d->error = errno;
	d->n_tried = d->n_addrs;
	balance_failed(d->conn, d->target);
}

void
dialer_connected(const struct dialer *d, const struct target_addr *to)
{
	report_addr(d, to);
}
