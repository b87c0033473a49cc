/* Counts flows, bytes and datagrams, and logs flows and dropped datagrams. */

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/advice.h"
#include "base/errname.h"
#include "base/log.h"
#include "base/report.h"
#include "config/map.h"
#include "dial/why.h"
#include "mapper/mapper.h"
#include "mapper/rows.h"
#include "mapper/scoreboard.h"
#include "mapper/target_state.h"
#include "netns.h"
#include "udp/account.h"
#include "udp/datagram.h"
#include "udp/flow.h"
#include "udp/state.h"
#include "udp/target.h"

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

static unsigned long long
count_drops(const struct udp_mapper *m, enum drop_reason reason)
{
	return counter_value(m, (enum count)(COUNT_DROPPED + reason));
}

void
account_overflow(const struct udp_mapper *m, int fd)
{
	account_add(m, COUNT_DROPPED + DROP_OVERFLOW,
	    datagram_rcvbuf_drops(fd));
}

static uint16_t
port_of(const struct udp_mapper *m, const struct flow_key *key)
{
	return (uint16_t)(m->map->listen.port_first +
	    m->args->listeners[key->listener].port_index);
}

void
account_drop(const struct udp_mapper *m, enum drop_reason reason,
    unsigned long long n, const char *why, const struct flow_key *key,
    int error)
{
	struct conn_report report = {0};
	char client[SOCKADDR_STRLEN], to[SOCKADDR_STRLEN], advice[ADVICE_SIZE];
	const bool redirected = map_is_original(m->map);
	const char *hint;

	if (redirected)
		targets_original(key, port_of(m, key), &report.peer);
	hint =
	    reason == DROP_UP ? dial_why(advice, m->map, &report, error) : NULL;
	account_add(m, (enum count)(COUNT_DROPPED + reason), n);
	if ((report.error = error))
		scoreboard_set_error(&m->args->state->error, &report);
	log_ratelimited("'%s': dropped a datagram of %s%s%s: %s%s%s%s%s%s",
	    m->map->spec, sockaddr_format(&key->peer.sa, client),
	    redirected ? " to " : "",
	    redirected ? sockaddr_format(&report.peer.sa, to) : "", why,
	    error ? ": " : "", error ? errno_name(error) : "", hint ? " (" : "",
	    hint ? hint : "", hint ? ")" : "");
}

/* Names a bare port by its first address, as the messages of TCP do. */
void
account_refused(const struct udp_mapper *m, const struct flow *f,
    uint32_t target)
{
	const uint16_t port = m->args->listeners[f->key.listener].port_index;
	struct mapper_state *state = m->args->state;
	struct conn_report report = {
	    .error = ECONNREFUSED,
	    .target = target,
	    .peer = f->target,
	};
	char text[SOCKADDR_STRLEN];

	if (target < m->map->n_targets) {
		target_set_down(&state->targets,
		    target_number(m->map, target, port), m->now);
		targets_first_address(&m->targets, target, port, &report.peer);
	}
	scoreboard_set_error(&state->error, &report);
	log_ratelimited("'%s': target %s refuses datagrams: nothing listens "
			"there, or no route leads there",
	    m->map->spec, sockaddr_format(&report.peer.sa, text));
}

void
account_answered(const struct udp_mapper *m, const struct flow *f,
    uint32_t target)
{
	struct target_states *states = &m->args->state->targets;

	if (target < m->map->n_targets &&
	    target_set_up(states,
		target_number(m->map, target,
		    m->args->listeners[f->key.listener].port_index),
		m->now))
		targets_any_down(states);
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

static void
fill_flow_row(struct row *row, const struct flow *f)
{
	row->client = f->key.peer;
	row->started_at = f->started_at;
	row->up = f->up;
	row->down = f->down;
	sockaddr_format(&f->target.sa, row->target);
}

void
account_send_rows(const struct udp_mapper *m,
    const struct rows_request *request)
{
	struct rows_reply reply = {.token = request->token, .next = ROWS_END};
	const struct flows *flows = &m->flows;

	for (uint32_t i = request->cursor; i < flows->n_touched; i++) {
		if (flows->items[i].fd == -1)
			continue;
		if (reply.n == ROWS_MAX) {
			reply.next = i;
			break;
		}
		fill_flow_row(&reply.rows[reply.n++], &flows->items[i]);
	}
	rows_send(m->args->channel, &reply);
}

void
account_log_sums(const struct udp_mapper *m)
{
	char quoted[LOGFMT_SIZE];

	log_left_out();
	log_info("udp map=%s flows=%llu up-datagrams=%llu down-datagrams=%llu "
		 "dropped: source=%llu limit=%llu up=%llu "
		 "down=%llu overflow=%llu refused=%llu",
	    logfmt(quoted, m->map->spec), counter_value(m, COUNT_STARTED),
	    counter_value(m, COUNT_SENT), counter_value(m, COUNT_RECEIVED),
	    count_drops(m, DROP_SOURCE), count_drops(m, DROP_LIMIT),
	    count_drops(m, DROP_UP), count_drops(m, DROP_DOWN),
	    count_drops(m, DROP_OVERFLOW), count_drops(m, DROP_REFUSED));
}
