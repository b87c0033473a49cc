/* Counts flows, bytes and datagrams, and logs flows and dropped datagrams. */

#include <stdatomic.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/advice.h"
#include "base/errname.h"
#include "base/log.h"
#include "base/report.h"
#include "config/map.h"
#include "dial/why.h"
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
	const struct conn_report none = {0};
	char client[SOCKADDR_STRLEN], advice[ADVICE_SIZE];
	const char *hint =
	    reason == DROP_UP ? dial_why(advice, m->map, &none, error) : NULL;

	m->drops[reason] += n;
	account_add(m, COUNT_DROPPED, n);
	log_ratelimited("'%s': dropped a datagram of %s: %s%s%s%s%s%s",
	    m->map->spec, sockaddr_format(&key->peer.sa, client), why,
	    error ? ": " : "", error ? errno_name(error) : "", hint ? " (" : "",
	    hint ? hint : "", hint ? ")" : "");
}

void
account_refused(const struct udp_mapper *m, const struct flow *f)
{
	char target[SOCKADDR_STRLEN];

	log_ratelimited("'%s': target %s refuses datagrams: nothing listens "
			"there, or no route leads there",
	    m->map->spec, sockaddr_format(&f->target.sa, target));
}

void
account_flow_begin(const struct udp_mapper *m, const struct flow *f)
{
	char client[SOCKADDR_STRLEN], target[SOCKADDR_STRLEN];
	char quoted[3][LOGFMT_SIZE];

	if (log_enabled(LOG_VERBOSE))
		log_debug(
		    "flow opened from=%s to=%s map=%s client=%s target=%s",
		    logfmt(quoted[0], ns_spec(&m->map->listen_ns)),
		    logfmt(quoted[1], ns_spec(&m->map->target_ns)),
		    logfmt(quoted[2], m->map->spec),
		    sockaddr_format(&f->key.peer.sa, client),
		    sockaddr_format(&f->target.sa, target));
}

void
account_flow_end(const struct udp_mapper *m, const struct flow *f,
    const char *end)
{
	char client[SOCKADDR_STRLEN], target[SOCKADDR_STRLEN];
	char quoted[3][LOGFMT_SIZE];

	if (!log_enabled(LOG_VERBOSE))
		return;
	log_debug("flow from=%s to=%s map=%s client=%s target=%s up=%llu "
		  "down=%llu up-datagrams=%llu down-datagrams=%llu ms=%lld "
		  "end=%s",
	    logfmt(quoted[0], ns_spec(&m->map->listen_ns)),
	    logfmt(quoted[1], ns_spec(&m->map->target_ns)),
	    logfmt(quoted[2], m->map->spec),
	    sockaddr_format(&f->key.peer.sa, client),
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
	char quoted[LOGFMT_SIZE];

	log_left_out();
	log_info("udp map=%s flows=%llu up-datagrams=%llu down-datagrams=%llu "
		 "dropped: source=%llu limit=%llu up=%llu "
		 "down=%llu overflow=%llu",
	    logfmt(quoted, m->map->spec), counter_value(m, COUNT_STARTED),
	    counter_value(m, COUNT_SENT), counter_value(m, COUNT_RECEIVED),
	    m->drops[DROP_SOURCE], m->drops[DROP_LIMIT], m->drops[DROP_UP],
	    m->drops[DROP_DOWN], m->drops[DROP_OVERFLOW]);
}
