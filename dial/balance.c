/* Chooses the order in which the targets of a map are tried. */

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/report.h"
#include "config/map.h"
#include "dial/balance.h"
#include "dial/conn.h"
#include "mapper/target_state.h"

#define TARGET_BACKOFF_MS 10000
#define FAILURES_MAX      1024

/* Returns the target that balance= puts first for the client. */
static size_t
first_target(const struct conn *conn)
{
	size_t n = conn->map->n_targets;
	const union sockaddr_inet *peer = &conn->peer;
	const unsigned char *addr = (const void *)&peer->v6.sin6_addr;
	uint64_t hash = 14695981039346656037U; /* FNV-1a */
	size_t length = 16;

	if (conn->map->balance == BALANCE_ROUND)
		return conn->seq % n;
	if (conn->map->balance == BALANCE_FIRST)
		return 0;
	if (peer->sa.sa_family == AF_INET) {
		addr = (const void *)&peer->v4.sin_addr;
		length = 4;
	}
	while (length--)
		hash = (hash ^ *addr++) * 1099511628211U;
	/* FNV hardly moves the last bytes up to the bits that are used. */
	hash = (hash ^ hash >> 32) * 11400714819323198485U;
	return (hash >> 32) % n;
}

uint32_t
balance_failures_size(const struct map *map)
{
	const uint64_t n = (uint64_t)map->n_targets * map_ports(map);

	return n < FAILURES_MAX ? (uint32_t)n : FAILURES_MAX;
}

static struct target_failure *
failure_of(const struct conn *conn, uint32_t number)
{
	return &conn->failures
		    ->items[number % balance_failures_size(conn->map)];
}

static bool
failed_since(const struct conn *conn, size_t target, msec limit)
{
	const uint32_t number =
	    target_number(conn->map, (uint32_t)target, conn->port_index);
	const struct target_failure *f = failure_of(conn, number);

	return conn->failures->unreachable_at[target] > limit ||
	    (f->at > limit && f->number == number);
}

uint64_t
balance_backoff(const struct conn *conn)
{
	uint64_t set = 0;
	msec limit;

	if (!conn->failures)
		return 0;
	limit = now_ms() - TARGET_BACKOFF_MS;
	for (size_t i = 0; i < conn->map->n_targets; i++)
		if (failed_since(conn, i, limit))
			set |= (uint64_t)1 << i;
	return set;
}

size_t
balance_next(const struct conn *conn, uint64_t tried, uint64_t backoff)
{
	size_t n = conn->map->n_targets, start = first_target(conn), best = n;

	for (size_t i = 0; i < n; i++) {
		size_t at = (start + i) % n;

		if (tried >> at & 1)
			continue;
		if (!(backoff >> at & 1))
			return at;
		if (best == n)
			best = at;
	}
	return best;
}

/* The errors below 0 are those of a name. */
static bool
is_unreachable(int error)
{
	return error < 0 || error == ETIMEDOUT || error == EHOSTUNREACH ||
	    error == ENETUNREACH;
}

/* Writes the time last, because others read a failure that has a time. */
void
balance_failed(const struct conn *conn, size_t target, int error)
{
	struct target_failure *f;
	uint32_t number;

	if (!conn->failures)
		return;
	number = target_number(conn->map, (uint32_t)target, conn->port_index);
	f = failure_of(conn, number);
	atomic_store(&f->at, 0);
	f->error = error;
	f->hop_status = conn->report->hop_status;
	f->number = number;
	f->peer = conn->report->peer;
	f->server = conn->report->server;
	atomic_store(&f->at, now_ms());
	if (is_unreachable(error))
		atomic_store(&conn->failures->unreachable_at[target], f->at);
	atomic_fetch_add(&conn->failures->count, 1);
}
