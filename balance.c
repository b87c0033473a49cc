/* In which order the targets of a map are tried. */

#include "dial.h"

/* The target that balance= has for the client first. */
static size_t
first(const struct call *call)
{
	size_t n = call->map->targets;
	const union peer *from = &call->from;
	const unsigned char *addr = (const void *)&from->six.sin6_addr;
	uint64_t hash = 14695981039346656037U; /* FNV-1a */
	size_t length = 16;

	if (call->map->balance == BALANCE_ROUND)
		return call->turn % n;
	if (call->map->balance == BALANCE_FIRST)
		return 0;
	if (from->any.sa_family == AF_INET) {
		addr = (const void *)&from->four.sin_addr;
		length = 4;
	}
	while (length--)
		hash = (hash ^ *addr++) * 1099511628211U;
	return (hash >> 32) % n;
}

uint64_t
balance_backoff(const struct call *call)
{
	uint64_t set = 0;
	deadline after;

	if (!call->failed)
		return 0;
	after = now() - DIAL_REST_MS;
	for (size_t i = 0; i < call->map->targets; i++)
		if (atomic_load(&call->failed[i]) > after)
			set |= (uint64_t)1 << i;
	return set;
}

size_t
balance_next(const struct call *call, uint64_t tried, uint64_t backoff)
{
	size_t n = call->map->targets, from = first(call), best = n;

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
balance_failed(const struct call *call, size_t target)
{
	if (call->failed)
		atomic_store(&call->failed[target], now());
}
