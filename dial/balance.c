/* Chooses the order in which the targets of a map are tried. */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/report.h"
#include "config/map.h"
#include "dial/balance.h"
#include "dial/conn.h"

#define TARGET_BACKOFF_MS 10000

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

uint64_t
balance_backoff(const struct conn *conn)
{
	uint64_t set = 0;
	msec limit;

	if (!conn->failures)
		return 0;
	limit = now_ms() - TARGET_BACKOFF_MS;
	for (size_t i = 0; i < conn->map->n_targets; i++)
		if (atomic_load(&conn->failures->items[i].at) > limit)
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

/* Writes the time last, because others read a failure that has a time. */
void
balance_failed(const struct conn *conn, size_t target, int error)
{
	struct target_failure *f;

	if (!conn->failures)
		return;
	f = &conn->failures->items[target];
	f->error = error;
	f->hop_status = conn->report->hop_status;
	f->port_index = conn->port_index;
	f->peer = conn->report->peer;
	atomic_store(&f->at, now_ms());
	atomic_fetch_add(&conn->failures->count, 1);
}
