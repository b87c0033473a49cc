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
 * If a name has addresses of both families, its first address gets a head start
 * only (RFC 8305), so that a family that leads nowhere costs a quarter second.
 * If no other address answers, the first one is tried again, with its share.
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
#include "dns/result.h"
#include "proxy/reach.h"

#define HEAD_START_MS 250 /* RFC 8305 5, Connection Attempt Delay */

void
dialer_init(struct dialer *d, const struct conn *conn,
    struct dns_addr *resolved)
{
	*d = (struct dialer){
	    .conn = conn,
	    .backoff = balance_backoff(conn),
	    .started_us = now_us(),
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

const struct endpoint *
dialer_endpoint(const struct dialer *d, unsigned *index)
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

static size_t
count_untried(const struct dialer *d)
{
	size_t left = d->conn->requested ? 1 : d->conn->map->n_targets;

	for (uint64_t bits = d->tried; bits; bits &= bits - 1)
		left--;
	return left;
}

void
dialer_restart_target(struct dialer *d)
{
	unsigned index;
	const struct endpoint *ep = dialer_endpoint(d, &index);

	d->head_start = false;
	d->wants_name = ep->kind == EP_HOST;
	d->n_tried = 0;
	d->n_addrs = d->wants_name ? 0 : (uint32_t)literal_count(ep);
}

/*
 * Moves on to the next target, which may want a name. Returns false if no
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
	report->peer = d->conn->original;
	report->hop_status = 0;
	report->server.sa.sa_family = AF_UNSPEC;
	dialer_restart_target(d);
	return true;
}

void
dialer_resolved(struct dialer *d, size_t n)
{
	const struct dns_addr *all = d->resolved;

	d->wants_name = false;
	d->n_resolved = (uint32_t)n;
	/* The second address is of the other family, if there is one. */
	d->head_start = n > 1 && all[0].family != all[1].family;
	d->n_addrs = d->n_resolved + d->head_start;
	if (!n)
		dialer_target_failed(d);
}

const char *
dialer_last_of_name(const struct dialer *d)
{
	unsigned index;
	const struct endpoint *ep = dialer_endpoint(d, &index);

	return ep->kind == EP_HOST && d->n_tried == d->n_addrs ? ep->name
							       : NULL;
}

static int
current_addr(const struct dialer *d, const struct endpoint *ep, unsigned index,
    struct target_addr *to)
{
	uint32_t i = d->n_tried - 1;

	if (ep->kind != EP_HOST)
		return literal_addr(to, ep, index, i);
	resolve_sockaddr(to, &d->resolved[i % d->n_resolved],
	    (uint16_t)(ep->port_first + index));
	return 0;
}

int
dialer_current(const struct dialer *d, struct target_addr *to)
{
	unsigned index;
	const struct endpoint *ep = dialer_endpoint(d, &index);

	if (current_addr(d, ep, index, to) == -1)
		return -1;
	return ep == d->conn->requested &&
		!reach_allows(d->conn->map, &to->addr)
	    ? fail_errno(EACCES)
	    : 0;
}

/* Returns the time until which the next address is tried. */
static msec
next_addr_deadline(const struct dialer *d)
{
	msec at = share_of_time(d->target_deadline, d->n_addrs - d->n_tried);

	return d->n_tried == 0 && d->head_start
	    ? msec_min(at, now_ms() + HEAD_START_MS)
	    : at;
}

enum dialer_step
dialer_next(struct dialer *d, struct target_addr *to)
{
	for (;;) {
		while (d->n_tried == d->n_addrs) {
			if (d->wants_name)
				return DIALER_NAME;
			if (!next_target(d)) {
				errno = d->error;
				return DIALER_FAILED;
			}
		}
		d->addr_deadline = next_addr_deadline(d);
		d->n_tried++;
		if (dialer_current(d, to) == 0)
			return DIALER_ADDR;
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
		if (d->head_start && errno != ETIMEDOUT)
			d->n_addrs--;
	}
	if (d->n_tried == d->n_addrs)
		balance_failed(d->conn, d->target, d->error);
}

void
dialer_target_failed(struct dialer *d)
{
	d->error = errno;
	d->n_tried = d->n_addrs;
	balance_failed(d->conn, d->target, d->error);
}

void
dialer_connected(const struct dialer *d, const struct target_addr *to)
{
	report_addr(d, to);
}

void
dialer_succeeded(const struct dialer *d)
{
	d->conn->report->dial_us = now_us() - d->started_us + 1;
}
