/* Reports on all services: a table for people, metrics for Prometheus. */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/map.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "mapper/scoreboard.h"
#include "netns.h"
#include "server/mapper_proc.h"
#include "server/service.h"
#include "server/stats.h"

#define ANSWERS_MS  1000 /* for all mappers to log their rows */
#define DISCARD_MAX 64   /* replies of a mapper, which could send more */

static unsigned long long
sum_counter(const struct service *s, enum count counter)
{
	unsigned long long sum = s->past_counts[counter];

	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (m->service == s)
			sum += mapper_count(m, counter);
	return sum;
}

/* Returns true if the mapper has replied, false on a signal or the deadline. */
static bool
wait_dump(const struct mapper_proc *m, int signal_fd, msec deadline)
{
	struct pollfd watched[] = {
	    {.fd = m->channel, .events = POLLIN},
	    {.fd = signal_fd, .events = POLLIN},
	};
	msec left = deadline - now_ms();

	return poll(watched, 2, left > 0 ? (int)left : 0) > 0 &&
	    watched[0].revents;
}

/*
 * Has a mapper log its open connections or flows, and waits, so that these rows
 * follow the row of its service. Discards late replies to earlier commands
 * first.
 */
static void
log_mapper_rows(const struct mapper_proc *m, int signal_fd, msec deadline)
{
	int old, n = 0;

	while (n++ < DISCARD_MAX &&
	    recv(m->channel, &old, sizeof(old), MSG_DONTWAIT) > 0)
		;
	mapper_send_command(m, CMD_DUMP);
	if (!wait_dump(m, signal_fd, deadline))
		log_error("table:   process %d has not answered yet",
		    (int)m->pid);
}

static void
log_service_row(const struct service *s, int signal_fd, msec deadline)
{
	char text[NS_TEXT_SIZE];

	log_error("table: %8llu %10llu %8llu %8llu %12llu %12llu  %s%s",
	    sum_counter(s, COUNT_OPEN), sum_counter(s, COUNT_STARTED),
	    sum_counter(s, COUNT_FAILED), sum_counter(s, COUNT_REFUSED),
	    sum_counter(s, COUNT_UP), sum_counter(s, COUNT_DOWN), s->map->spec,
	    s->mapper ? "" : " (waits)");
	if (*ns_describe(&s->map->listen_ns, text))
		log_error("table:   %s", text);
	if (*ns_describe(&s->map->target_ns, text))
		log_error("table:   %s", text);
	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (m->service == s && !m->exited)
			log_mapper_rows(m, signal_fd, deadline);
}

void
stats_log_table(const struct services *list, int signal_fd)
{
	msec deadline = now_ms() + ANSWERS_MS;

	log_error("table: %8s %10s %8s %8s %12s %12s  MAP", "OPEN", "BEGUN",
	    "FAILED", "REFUSED", "UP", "DOWN");
	for (size_t i = 0; i < list->count; i++)
		log_service_row(&list->items[i], signal_fd, deadline);
}

/*
 * Entries with the same name are neighbours, because Prometheus requires that.
 */
static const struct metric {
	const char *name, *label, *help;
	enum count count; /* COUNTS: mapper_starts */
	unsigned proto;   /* of the services that have the metric */
} metrics[] = {
    {"nsfwd_connections_total", "", "Connections accepted.", COUNT_STARTED,
	PROTO_TCP},
    {"nsfwd_flows_total", "", "UDP flows begun.", COUNT_STARTED, PROTO_UDP},
    {"nsfwd_open_connections", "", "Connections open.", COUNT_OPEN, PROTO_TCP},
    {"nsfwd_open_flows", "", "UDP flows open.", COUNT_OPEN, PROTO_UDP},
    {"nsfwd_dial_failures_total", "", "Connections that reached no target.",
	COUNT_FAILED, PROTO_TCP},
    {"nsfwd_refused_total", "", "Clients that were not let in.", COUNT_REFUSED,
	PROTO_TCP},
    {"nsfwd_bytes_total", ",direction=\"up\"",
	"Bytes to targets (up) and clients, of ended connections and of flows.",
	COUNT_UP, PROTO_TCP | PROTO_UDP},
    {"nsfwd_bytes_total", ",direction=\"down\"", NULL, COUNT_DOWN,
	PROTO_TCP | PROTO_UDP},
    {"nsfwd_datagrams_total", ",direction=\"up\"",
	"Datagrams to targets (up) and clients.", COUNT_SENT, PROTO_UDP},
    {"nsfwd_datagrams_total", ",direction=\"down\"", NULL, COUNT_RECEIVED,
	PROTO_UDP},
    {"nsfwd_dropped_datagrams_total", "", "Datagrams that did not go on.",
	COUNT_DROPPED, PROTO_UDP},
    {"nsfwd_mapper_starts_total", "", "Mappers started.", COUNTS,
	PROTO_TCP | PROTO_UDP},
};

static void
print_metric(FILE *out, const struct metric *m, const struct service *s)
{
	fprintf(out, "%s{proto=\"%s\"%s,map=\"", m->name,
	    s->proto == PROTO_UDP ? "udp" : "tcp", m->label);
	for (const char *c = s->map->spec; *c; c++)
		fprintf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
	fprintf(out, "\"} %llu\n",
	    m->count == COUNTS ? s->mapper_starts : sum_counter(s, m->count));
}

void
stats_print_metrics(FILE *out, const struct services *list)
{
	static const struct metric *const end = metrics + ARRAY_LEN(metrics);

	for (const struct metric *m = metrics; m < end; m++) {
		if (m->help)
			fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name,
			    m->help, m->name,
			    m->count == COUNT_OPEN ? "gauge" : "counter");
		for (size_t i = 0; i < list->count; i++)
			if (list->items[i].proto & m->proto)
				print_metric(out, m, &list->items[i]);
	}
}
