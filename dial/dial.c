/* Resolves and connects, in the namespace it is in, until a deadline. */

/*
 * Theory of operation
 *
 * The search for a target is a struct dialing, which knows what comes next and
 * does no waiting, but for the resolver. dial() drives it for a connection that
 * has a process of its own, worker.c for those that share one.
 *
 * What is left of the time is shared evenly among the targets that are left,
 * and the share of a target among its addresses. A target has failed when all
 * of its addresses have; the error of the first one is the one that is told.
 */

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/report.h"
#include "base/sock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/balance.h"
#include "dial/dial.h"
#include "netns.h"
#include "proxy/conn.h"
#include "proxy/hop.h"
#include "proxy/proxy_protocol.h"
#include "proxy/reach.h"

static const int families[] = {AF_INET, AF_INET6}; /* of a bare port */

msec
connect_deadline(const struct map *map, msec from)
{
	return map->times.connect ? from + map->times.connect : NEVER;
}

/* The time for the next of so many attempts, each with an even share. */
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
 * getaddrinfo(3) knows no deadline. A timer that nobody handles ends the
 * process in its stead, which resets the client, as a failed dial does; the
 * tally tells the mapper what it was.
 */
static void
arm_resolver_timeout(msec deadline)
{
	struct itimerval timer = {0};
	int span = io_timeout(deadline);

	if (span == -1)
		return;
	span = span ? span : 1;
	timer.it_value.tv_sec = span / 1000;
	timer.it_value.tv_usec = span % 1000 * 1000L;
	setitimer(ITIMER_REAL, &timer, NULL);
}

static size_t
resolve(const struct endpoint *target, unsigned index, int type,
    struct target_addr *out, size_t max)
{
	const struct addrinfo hints = {.ai_socktype = type};
	struct addrinfo *list, *ai;
	char port[8];
	size_t n = 0;
	int error;

	snprintf(port, sizeof(port), "%u", target->port_first + index);
	error = getaddrinfo(target->name, port, &hints, &list);
	if (error) {
		errno = error == EAI_SYSTEM ? errno : error;
		return 0;
	}
	for (ai = list; ai && n < max && n < DIAL_ADDRESSES_MAX;
	     ai = ai->ai_next) {
		memset(&out[n].addr, 0, sizeof(out[n].addr));
		memcpy(&out[n].addr, ai->ai_addr, ai->ai_addrlen);
		out[n++].length = ai->ai_addrlen;
	}
	freeaddrinfo(list);
	return n;
}

/* How many addresses an endpoint has that is no host name. */
static size_t
count_addresses(const struct endpoint *ep)
{
	return ep->kind == EP_LOOPBACK ? 2 : 1;
}

/* Without an address it is 127.0.0.1, then ::1. 0 with errno, as resolve(). */
static size_t
endpoint_addrs(const struct endpoint *target, unsigned index, int type,
    struct target_addr *out, size_t max)
{
	size_t n = 0, wanted = count_addresses(target);

	if (target->kind == EP_HOST)
		return resolve(target, index, type, out, max);
	for (; n < wanted && n < max; n++) {
		out[n].length =
		    endpoint_sockaddr(&out[n].addr, target, index, families[n]);
		if (!out[n].length)
			break;
	}
	return n;
}

size_t
resolve_targets(const struct map *map, struct target_addr *out, size_t max)
{
	size_t n = 0, more;

	for (size_t i = 0; i < map->n_targets; i++) {
		more = endpoint_addrs(&map->targets[i], 0, SOCK_DGRAM, out + n,
		    max - n);
		while (more--)
			out[n++].target = (uint32_t)i;
	}
	return n;
}

static void
report_target(const struct dialing *d, const struct target_addr *to)
{
	if (!d->conn->map->n_hops && to->length &&
	    to->addr.ss_family != AF_UNIX)
		memcpy(&d->conn->report->peer, &to->addr, to->length);
}

static const struct endpoint *
target_of(const struct dialing *d)
{
	return d->conn->requested ? d->conn->requested
				  : &d->conn->map->targets[d->target];
}

static unsigned
index_of(const struct dialing *d)
{
	const struct endpoint *target = target_of(d);

	return target->port_first == target->port_last ? 0
						       : d->conn->port_index;
}

/* What is connected to: the target, or the first hop on the way to it. */
static const struct endpoint *
first_hop_or_target(const struct dialing *d, unsigned *index)
{
	*index = d->conn->map->n_hops ? 0 : index_of(d);
	return d->conn->map->n_hops ? &d->conn->map->hops[0].ep
				    : target_of(d);
}

/* How many addresses the target has. 0 with errno. */
static size_t
resolve_endpoint(const struct dialing *d)
{
	struct conn_report *report = d->conn->report;
	unsigned index;
	const struct endpoint *ep = first_hop_or_target(d, &index);
	size_t n;

	if (ep->kind != EP_HOST)
		return count_addresses(ep);
	report->resolving = 1;
	arm_resolver_timeout(d->target_deadline);
	n = resolve(ep, index, SOCK_STREAM, d->list, DIAL_ADDRESSES_MAX);
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	report->resolving = 0;
	return n;
}

void
dial_start(struct dialing *d, const struct conn *conn, struct target_addr *list)
{
	*d = (struct dialing){
	    .conn = conn,
	    .backoff = balance_backoff(conn),
	    .deadline = conn->deadline ? conn->deadline
				       : connect_deadline(conn->map, now_ms()),
	    .list = list,
	};
}

void
dial_failed(struct dialing *d)
{
	d->error = errno;
	d->at = d->addresses;
	balance_failed(d->conn, d->target);
}

/* False if there is none left. One that has no address has failed. */
static bool
next_target(struct dialing *d)
{
	const struct conn *conn = d->conn;
	size_t left = conn->requested ? 1 : conn->map->n_targets;

	for (uint64_t bits = d->tried; bits; bits &= bits - 1)
		left--;
	if (!left)
		return false;
	d->target = (uint32_t)balance_next(conn, d->tried, d->backoff);
	d->tried |= (uint64_t)1 << d->target;
	d->target_deadline = share_of_time(d->deadline, left);
	conn->report->target = d->target;
	conn->report->peer.sa.sa_family = AF_UNSPEC;
	conn->report->hop_status = 0;
	d->at = 0;
	d->addresses = (uint32_t)resolve_endpoint(d);
	if (!d->addresses)
		dial_failed(d);
	return true;
}

int
dial_same(const struct dialing *d, struct target_addr *to)
{
	unsigned index;
	const struct endpoint *ep = first_hop_or_target(d, &index);

	if (ep->kind == EP_HOST)
		*to = d->list[d->at - 1];
	else
		to->length = endpoint_sockaddr(&to->addr, ep, index,
		    families[d->at - 1]);
	if (!to->length)
		return -1;
	errno = EACCES;
	return d->conn->requested && !d->conn->map->n_hops &&
		!reach_allows(d->conn->map, &to->addr)
	    ? -1
	    : 0;
}

int
dial_next(struct dialing *d, struct target_addr *to)
{
	for (;;) {
		while (d->at == d->addresses)
			if (!next_target(d)) {
				errno = d->error;
				return -1;
			}
		d->address_deadline =
		    share_of_time(d->target_deadline, d->addresses - d->at);
		d->at++;
		if (dial_same(d, to) == 0)
			return 0;
		dial_missed(d, to);
	}
}

void
dial_missed(struct dialing *d, const struct target_addr *to)
{
	if (d->at == 1) {
		d->error = errno;
		report_target(d, to);
	}
	if (d->at == d->addresses)
		balance_failed(d->conn, d->target);
}

void
dial_reached(const struct dialing *d, const struct target_addr *to)
{
	report_target(d, to);
}

/* The blocking driver. */

/*
 * Waits until the connect is decided. The client is watched for a reset only:
 * its end of stream may lie behind a request that wants an answer. Over
 * loopback it has been decided by the time that it is asked for again, which
 * spares a wait.
 */
static enum attempt
wait_connected(const struct io *io, const struct target_addr *to)
{
	enum attempt result = attempt_connect(io->fd, to);

	if (result != ATTEMPT_WAIT)
		return result;
	return io_wait_for(io, POLLOUT) == -1 ? ATTEMPT_FAILED
					      : attempt_result(io->fd, to);
}

static int
connect_with_deadline(const struct io *io, const struct target_addr *to)
{
	enum attempt result;

	while ((result = attempt_connect(io->fd, to)) == ATTEMPT_RETRY) {
		if (client_was_reset(io->abort_fd))
			return -1;
		errno = ETIMEDOUT;
		if (io_timeout(io->deadline) == 0)
			return -1;
		poll(NULL, 0, DIAL_RETRY_MS);
	}
	if (result == ATTEMPT_WAIT)
		result = wait_connected(io, to);
	return result == ATTEMPT_DONE ? 0 : -1;
}

/* What is given up is reset: the target must not see an empty, clean end. */
static int
try_address(const struct dialing *d, const struct target_addr *to)
{
	struct io io = {.abort_fd = d->conn->client,
	    .deadline = d->address_deadline};

	if (client_was_reset(io.abort_fd))
		return -1;
	io.fd = attempt_open(d->conn->map, to->addr.ss_family);
	if (io.fd == -1 || connect_with_deadline(&io, to) == 0)
		return io.fd;
	return close_keep_errno(io.fd);
}

/* Through the other hops, then who the client is. */
static int
send_handshakes(const struct dialing *d, int fd)
{
	const struct conn *conn = d->conn;
	const struct map *map = conn->map;
	const struct io io = {fd, conn->client, d->target_deadline};
	const char *ns =
	    map->listen_ns.kind == NS_SELF ? NULL : ns_spec(&map->listen_ns);
	unsigned char header[HEADER_SIZE];
	size_t length;

	for (size_t i = 0; i < map->n_hops; i++) {
		bool last = i + 1 == map->n_hops;
		const struct endpoint *to =
		    last ? target_of(d) : &map->hops[i + 1].ep;

		if (hop_connect(&io, &map->hops[i], to, last ? index_of(d) : 0,
			&conn->report->hop_status) == -1)
			return -1;
	}
	if (!map->send_proxy)
		return 0;
	length =
	    pp_write(header, map->send_proxy, &conn->peer, &conn->local, ns);
	return io_write_all(&io, header, length);
}

int
dial(const struct conn *conn)
{
	struct target_addr list[DIAL_ADDRESSES_MAX], to;
	struct dialing d;
	int fd;

	dial_start(&d, conn, list);
	while (dial_next(&d, &to) == 0) {
		fd = try_address(&d, &to);
		if (fd == -1) {
			if (errno == ECONNABORTED)
				return -1;
			dial_missed(&d, &to);
			continue;
		}
		dial_reached(&d, &to);
		if (send_handshakes(&d, fd) == 0)
			return fd;
		close_keep_errno(fd);
		if (errno == ECONNABORTED)
			return -1;
		dial_failed(&d);
	}
	return -1;
}
