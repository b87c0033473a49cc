/* Looks up the host names of the targets of a worker. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "tcp/lookup.h"

#include "base/clock.h"
#include "base/errname.h"
#include "base/memory.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/conn.h"
#include "dial/dialer.h"
#include "dial/resolve.h"
#include "dns/resolver.h"

#define NO_LIMIT 0 /* of a query, because each connection has a deadline */

union lookup_room {
	struct dns_addr addrs[RESOLVE_MAX];
	union lookup_room *next_free;
};

int
lookup_alloc(struct lookup *n, const struct map *map, uint32_t capacity)
{
	n->run_at = NEVER;
	if (!map_has_names(map))
		return 0;
	n->resolver = memory_map(NULL, 1, sizeof(*n->resolver),
	    MAP_PRIVATE | MAP_NORESERVE);
	n->rooms = memory_map(NULL, capacity, sizeof(*n->rooms),
	    MAP_PRIVATE | MAP_NORESERVE);
	return n->resolver && n->rooms ? 0 : -1;
}

int
lookup_open(struct lookup *n)
{
	return dns_resolver_init(n->resolver, resolver_source(), NO_LIMIT) == -1
	    ? -1
	    : n->resolver->epfd;
}

struct dns_addr *
lookup_take_room(struct lookup *n)
{
	union lookup_room *room = n->first_free;

	if (!n->rooms)
		return NULL;
	if (!room)
		return n->rooms[n->n_used++].addrs;
	n->first_free = room->next_free;
	return room->addrs;
}

void
lookup_release_room(struct lookup *n, struct dns_addr *addrs)
{
	union lookup_room *room = (void *)addrs;

	if (!room)
		return;
	room->next_free = n->first_free;
	n->first_free = room;
}

static const struct dns_result *
ask_name(struct lookup *n, const struct dialer *d)
{
	unsigned index;
	const struct dns_result *result;

	dns_resolver_ask(n->resolver, dialer_endpoint(d, &index)->name,
	    now_ms(), &result);
	n->run_at = dns_resolver_deadline(n->resolver);
	return result;
}

static void
set_result(struct dialer *d, const struct dns_result *result)
{
	resolve_report(d->conn->report, result);
	d->serial = result->serial;
	dialer_resolved(d, resolve_addrs(d->resolved, result));
}

bool
lookup_name(struct lookup *n, struct dialer *d)
{
	const struct dns_result *result = ask_name(n, d);

	if (result->status == DNS_PENDING ||
	    (d->doubted && result->serial == d->doubted))
		return false;
	set_result(d, result);
	return true;
}

void
lookup_expire(struct lookup *n, struct dialer *d)
{
	const struct dns_result *result = ask_name(n, d);

	if (result->status != DNS_PENDING) {
		set_result(d, result);
		return;
	}
	resolve_report(d->conn->report, result);
	errno = NAME_NO_ANSWER;
	dialer_resolved(d, 0);
}

bool
lookup_addr_failed(struct lookup *n, struct dialer *d)
{
	const char *name = dialer_last_of_name(d);

	if (!name || !dns_resolver_doubt(n->resolver, name, d->serial) ||
	    now_ms() >= d->target_deadline)
		return false;
	d->doubted = d->serial;
	dialer_restart_target(d);
	return true;
}

bool
lookup_run(struct lookup *n)
{
	bool changed = dns_resolver_run(n->resolver);

	n->run_at = dns_resolver_deadline(n->resolver);
	return changed;
}
