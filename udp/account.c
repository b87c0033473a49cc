/* Counts what a UDP mapper does, and logs flows and dropped datagrams. */

#include <stdatomic.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/errname.h"
#include "base/log.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "mapper/scoreboard.h"
#include "netns.h"
#include "udp/account.h"
#include "udp/datagram.h"
#include "udp/flow.h"
#include "udp/state.h"

void
account_add(const struct udp_mapper *m, enum count counter,
    unsigned long long n)
{
	atomic_fetch_add(&m->args->count[counter], n);
}

static unsigned long long
counter_value(const struct udp_mapper *m, enum count counter)
{
	return atomic_load(&m->args->count[counter]);
}

void
account_overflow(struct udp_mapper *m, int fd)
{
	m->drops[DROP_OVERFLOW] += datagram_rcvbuf_drops(fd);
}

void
account_drop(struct udp_mapper *m, enum drop_reason reason,
    unsigned long long n, const char *why, const struct flow_key *key,
    int error)
{
	char client[SOCKADDR_STRLEN];

	m->drops[reason] += n;
	account_add(m, COUNT_DROPPED, n);
	log_ratelimited("'%s': dropped a datagram of %s: %s%s%s", m->map->spec,
	    sockaddr_format(&key->peer.sa, client), why, error ? ": " : "",
	    error ? errno_name(error) : "");
}

void
account_flow_end(const struct udp_mapper *m, const struct flow *f,
    const char *end)
{
	char client[SOCKADDR_STRLEN], target[SOCKADDR_STRLEN];

	log_debug("flow from=%s to=%s map=%s client=%s target=%s up=%llu "
		  "down=%llu up-datagrams=%llu down-datagrams=%llu ms=%lld "
		  "end=%s",
	    ns_spec(&m->map->listen_ns), ns_spec(&m->map->target_ns),
	    m->map->spec, sockaddr_format(&f->key.peer.sa, client),
	    sockaddr_format(&f->target.sa, target), f->up, f->down,
	    f->up_datagrams, f->down_datagrams,
	    (long long)(m->now - f->started_at), end);
}

void
account_log_flows(const struct udp_mapper *m)
{
	char client[SOCKADDR_STRLEN], target[SOCKADDR_STRLEN];
	const struct flow *f;

	for (int list = FLOW_ONE_WAY; list < FLOW_LISTS; list++)
		for (f = m->flows.oldest[list]; f; f = f->newer)
			log_open_row(sockaddr_format(&f->key.peer.sa, client),
			    sockaddr_format(&f->target.sa, target), f->up,
			    f->down, f->started_at);
}

void
account_log_sums(const struct udp_mapper *m)
{
	log_info("udp map=%s flows=%llu up-datagrams=%llu down-datagrams=%llu "
		 "dropped: source=%llu limit=%llu up=%llu "
		 "down=%llu overflow=%llu",
	    m->map->spec, counter_value(m, COUNT_STARTED),
	    counter_value(m, COUNT_SENT), counter_value(m, COUNT_RECEIVED),
	    m->drops[DROP_SOURCE], m->drops[DROP_LIMIT], m->drops[DROP_UP],
	    m->drops[DROP_DOWN], m->drops[DROP_OVERFLOW]);
}
