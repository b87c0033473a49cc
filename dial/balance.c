/* In which order the targets of a map are tried. */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/clock.h"
#include "config/map.h"
#include "dial/balance.h"
#include "dial/dial.h"
#include "proxy/conn.h"

/* The target that balance= has for the client first. */
static size_t
first(const struct conn *conn)
{
	size_t n = conn->map->n_targets;
	const union sockaddr_inet *from = &conn->peer;
	const unsigned char *addr = (const void *)&from->v6.sin6_addr;
	uint64_t hash = 14695981039346656037U; /* FNV-1a */
	size_t length = 16;

	if (conn->map->balance == BALANCE_ROUND)
		return conn->seq % n;
	if (conn->map->balance == BALANCE_FIRST)
		return 0;
	if (from->sa.sa_family == AF_INET) {
		addr = (const void *)&from->v4.sin_addr;
		length = 4;
	}
	while (length--)
		hash = (hash ^ *addr++) * 1099511628211U;
	return (hash >> 32) % n;
}

uint64_t
balance_backoff(const struct conn *conn)
{
	uint64_t set = 0;
	msec after;

	if (!conn->target_failed_at)
		return 0;
	after = now_ms() - TARGET_BACKOFF_MS;
	for (size_t i = 0; i < conn->map->n_targets; i++)
		if (atomic_load(&conn->target_failed_at[i]) > after)
			set |= (uint64_t)1 << i;
	return set;
}

size_t
balance_next(const struct conn *conn, uint64_t tried, uint64_t backoff)
{
	size_t n = conn->map->n_targets, from = first(conn), best = n;

	for (size_t i = 0; i < n; i++) {
		size_t at = (from + i) % n;

		if (tried >> at & 1)
			continue;
		if (!(backoff >> at & 1))
			return at;
		if (best == n)
			best = at;
	}
	return best;
}

void
balance_failed(const struct conn *conn, size_t target)
{
	if (conn->target_failed_at)
		atomic_store(&conn->target_failed_at[target], now_ms());
}
