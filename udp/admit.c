/* Starts and ends flows, within the limits of the map. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "udp/account.h"
#include "udp/admit.h"
#include "udp/error.h"
#include "udp/flow.h"
#include "udp/route.h"
#include "udp/state.h"

#define EVICT_IDLE_MS 1000 /* idle time after which a flow can make room */

void
flow_end(struct udp_mapper *m, struct flow *f, const char *end)
{
	account_flow_end(m, f, end);
	route_close(m, f);
	flow_remove(&m->flows, f);
	atomic_fetch_sub(&m->args->count[COUNT_OPEN], 1);
}

/*
 * Returns a flow that can make room for a new flow with the key, or NULL. Never
 * returns a flow with datagrams of the current batch.
 */
static struct flow *
find_evictable(struct udp_mapper *m, const struct flow_key *key)
{
	struct flow *f;

	for (int list = FLOW_ONE_WAY; list < FLOW_ASSURED; list++)
		for (f = m->flows.oldest[list];
		     f && m->now - f->last_used >= EVICT_IDLE_MS; f = f->newer)
			if (!f->batch_first)
				return f;
	return flow_surplus(&m->flows, &key->peer);
}

/*
 * Ends a flow to make room for a flow with the key. Returns false, with errno
 * unchanged, if no flow can make room.
 */
static bool
make_room(struct udp_mapper *m, const struct flow_key *key)
{
	struct flow *f = find_evictable(m, key);

	if (f)
		flow_end(m, f, "evicted");
	return f != NULL;
}

/*
 * Starts a flow with the key in the first free entry. Returns NULL with errno.
 */
static struct flow *
start_flow(struct udp_mapper *m, const struct flow_key *key)
{
	struct flow *f = m->flows.free;

	f->key = *key;
	if (route_connect(m, f, *route_preferred(m, f)) == -1)
		return NULL;
	f->started_at = f->last_used = m->now;
	f->up = f->down = f->up_datagrams = f->down_datagrams = 0;
	f->batch_first = NULL;
	f->unanswered_at = 0;
	f->moves = 0;
	f->down_gso_max = f->up_gso_max;
	flow_add(&m->flows, f);
	account_add(m, COUNT_STARTED, 1);
	account_add(m, COUNT_OPEN, 1);
	account_flow_begin(m, f);
	return f;
}

/*
 * Starts a flow with the key. Returns NULL, and counts the datagram as dropped,
 * if the source or the map has reached its limit, or if no socket can be
 * opened.
 */
static struct flow *
admit_flow(struct udp_mapper *m, const struct flow_key *key)
{
	uint32_t max = m->map->limits.per_source;
	struct flow *f;

	if (max && flow_count_source(&m->flows, &key->peer) >= max) {
		account_drop(m, DROP_LIMIT, 1,
		    "max-source flows are from there", key, 0);
		return NULL;
	}
	if (!m->flows.free && !make_room(m, key)) {
		account_drop(m, DROP_LIMIT, 1, "the map has flows= of them",
		    key, 0);
		return NULL;
	}
	f = start_flow(m, key);
	if (!f && datagram_exhausted(errno) && make_room(m, key))
		f = start_flow(m, key);
	if (!f && errno == EACCES && map_is_original(m->map))
		account_drop(m, DROP_SOURCE, 1,
		    "not redirected, or reach= forbids it", key, 0);
	else if (!f)
		account_drop(m, DROP_UP, 1, "no way to the target", key, errno);
	return f;
}

/* Returns false for sources that no reply can reach, see RFC 1122 3.2.1.3. */
static bool
is_valid_source(const union sockaddr_inet *peer)
{
	uint32_t first = ntohl(peer->v4.sin_addr.s_addr) >> 24;

	if (peer->v6.sin6_port == 0)
		return false;
	if (peer->sa.sa_family == AF_INET)
		return first != 0 && first < 224;
	return !IN6_IS_ADDR_MULTICAST(&peer->v6.sin6_addr) &&
	    !IN6_IS_ADDR_UNSPECIFIED(&peer->v6.sin6_addr);
}

bool
flow_may_begin(const struct udp_mapper *m, const struct flow_key *key)
{
	return is_valid_source(&key->peer) &&
	    map_allows_client(m->map, &key->peer);
}

struct flow *
flow_find_or_admit(struct udp_mapper *m, const struct flow_key *key)
{
	struct flow *f = flow_find(&m->flows, key);

	if (f)
		return f;
	if (!is_valid_source(&key->peer))
		account_drop(m, DROP_SOURCE, 1,
		    "no source that can be answered", key, 0);
	else if (!map_allows_client(m->map, &key->peer))
		account_drop(m, DROP_SOURCE, 1, "it is not allowed", key, 0);
	else
		return admit_flow(m, key);
	return NULL;
}
