/* Prints the metrics of all services in the text format of Prometheus. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/array.h"
#include "base/clock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "mapper/scoreboard.h"
#include "server/service.h"
#include "server/service_row.h"
#include "server/stats.h"

/*
 * Entries with the same name are neighbours, because Prometheus requires that.
 */
static const struct metric {
	const char *name, *label, *help;
	enum count count;
	unsigned proto; /* of the services that have the metric */
} metrics[] = {
    {"nsfwd_connections_total", "", "Connections accepted.", COUNT_STARTED,
	PROTO_TCP},
    {"nsfwd_flows_total", "", "UDP flows begun.", COUNT_STARTED, PROTO_UDP},
    {"nsfwd_open_connections", "", "Connections open.", COUNT_OPEN, PROTO_TCP},
    {"nsfwd_open_flows", "", "UDP flows open.", COUNT_OPEN, PROTO_UDP},
    {"nsfwd_dial_failures_total", "", "Connections that reached no target.",
	COUNT_FAILED, PROTO_TCP},
    {"nsfwd_refused_total", ",reason=\"address\"",
	"Clients kept out by allow= or deny= (address), max-source= or auth=.",
	COUNT_DENIED, PROTO_TCP},
    {"nsfwd_refused_total", ",reason=\"max-source\"", NULL, COUNT_CROWDED,
	PROTO_TCP},
    {"nsfwd_refused_total", ",reason=\"auth\"", NULL, COUNT_UNAUTHORIZED,
	PROTO_TCP},
    {"nsfwd_accept_pauses_total", "",
	"Times that new clients waited, at a limit or for lack of a resource.",
	COUNT_PAUSED, PROTO_TCP},
    {"nsfwd_bytes_total", ",direction=\"up\"",
	"Bytes to targets (up) and clients, of ended connections and of flows.",
	COUNT_UP, PROTO_TCP | PROTO_UDP},
    {"nsfwd_bytes_total", ",direction=\"down\"", NULL, COUNT_DOWN,
	PROTO_TCP | PROTO_UDP},
    {"nsfwd_datagrams_total", ",direction=\"up\"",
	"Datagrams to targets (up) and clients.", COUNT_SENT, PROTO_UDP},
    {"nsfwd_datagrams_total", ",direction=\"down\"", NULL, COUNT_RECEIVED,
	PROTO_UDP},
#define DROPPED(label) "nsfwd_dropped_datagrams_total", ",reason=\"" label "\""
    {DROPPED("source"),
	"Datagrams not sent on: source not allowed, limit reached, not sent up "
	"to the target, or down to the client, receive buffer overflowed, "
	"or refused by the target.",
	COUNT_DROPPED + DROP_SOURCE, PROTO_UDP},
    {DROPPED("limit"), NULL, COUNT_DROPPED + DROP_LIMIT, PROTO_UDP},
    {DROPPED("up"), NULL, COUNT_DROPPED + DROP_UP, PROTO_UDP},
    {DROPPED("down"), NULL, COUNT_DROPPED + DROP_DOWN, PROTO_UDP},
    {DROPPED("overflow"), NULL, COUNT_DROPPED + DROP_OVERFLOW, PROTO_UDP},
    {DROPPED("refused"), NULL, COUNT_DROPPED + DROP_REFUSED, PROTO_UDP},
#undef DROPPED
};

static void
print_escaped(FILE *out, const char *text)
{
	for (; *text; text++)
		fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c",
		    *text);
}

/* Prints the name and the labels of a value, and a space. */
static void
print_name(FILE *out, const char *name, const char *label,
    const struct service *s)
{
	fprintf(out, "%s{proto=\"%s\"%s,map=\"", name,
	    s->proto == PROTO_UDP ? "udp" : "tcp", label);
	print_escaped(out, s->map->spec);
	fputs("\"} ", out);
}

static void
print_help(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
print_metrics(FILE *out, const struct services *list)
{
	static const struct metric *const end = metrics + ARRAY_LEN(metrics);

	for (const struct metric *m = metrics; m < end; m++) {
		if (m->help)
			print_help(out, m->name,
			    m->count == COUNT_OPEN ? "gauge" : "counter",
			    m->help);
		for (size_t i = 0; i < list->count; i++) {
			const struct service *s = &list->items[i];

			if (!(s->proto & m->proto))
				continue;
			print_name(out, m->name, m->label, s);
			fprintf(out, "%llu\n", service_sum(s, m->count));
		}
	}
}

static void
print_mappers(FILE *out, const struct services *list)
{
	print_help(out, "nsfwd_mapper_starts_total", "counter",
	    "Mappers started.");
	for (size_t i = 0; i < list->count; i++) {
		print_name(out, "nsfwd_mapper_starts_total", "",
		    &list->items[i]);
		fprintf(out, "%llu\n", list->items[i].mapper_starts);
	}
	print_help(out, "nsfwd_map_up", "gauge",
	    "1: the map serves. 0: it waits for a namespace or an address.");
	for (size_t i = 0; i < list->count; i++) {
		print_name(out, "nsfwd_map_up", "", &list->items[i]);
		fprintf(out, "%d\n", list->items[i].mapper != NULL);
	}
}

static unsigned
target_is_up(const struct service *s, size_t i)
{
	bool any_up = false;

	return !service_ports_down(s, i, &any_up) || any_up;
}

static unsigned
count_ports_down(const struct service *s, size_t i)
{
	bool any_up = false;

	return service_ports_down(s, i, &any_up);
}

/* A map may name a target twice, so that there is an index, too. */
static void
print_targets_of(FILE *out, const char *name, const struct service *s,
    unsigned (*value)(const struct service *, size_t))
{
	for (size_t i = 0; i < s->map->n_targets; i++) {
		fprintf(out, "%s{proto=\"%s\",index=\"%zu\",target=\"", name,
		    s->proto == PROTO_UDP ? "udp" : "tcp", i + 1);
		print_escaped(out, s->map->targets[i].arg);
		fputs("\",map=\"", out);
		print_escaped(out, s->map->spec);
		fprintf(out, "\"} %u\n", value(s, i));
	}
}

/* A proxy has no target of its own. */
static void
print_target_metric(FILE *out, const struct services *list, const char *name,
    const char *help, unsigned (*value)(const struct service *, size_t))
{
	print_help(out, name, "gauge", help);
	for (size_t i = 0; i < list->count; i++) {
		const struct service *s = &list->items[i];

		if (s->map->targets->kind != EP_PROXY)
			print_targets_of(out, name, s, value);
	}
}

/* Prints the buckets of a histogram. Returns how many values they have. */
static unsigned long long
print_buckets(FILE *out, const char *bucket, enum count first,
    const struct service *s)
{
	const msec *bounds =
	    first == COUNT_DIAL ? histogram_dial : histogram_life;
	unsigned long long n = 0;
	char label[48];

	for (int i = 0; i <= HISTOGRAM_BUCKETS; i++) {
		if (i < HISTOGRAM_BUCKETS)
			snprintf(label, sizeof(label), ",le=\"%g\"",
			    (double)bounds[i] / 1000);
		else
			snprintf(label, sizeof(label), ",le=\"+Inf\"");
		n += service_sum(s, (enum count)(first + i));
		print_name(out, bucket, label, s);
		fprintf(out, "%llu\n", n);
	}
	return n;
}

static void
print_histogram_of(FILE *out, const char *name, enum count first,
    const struct service *s)
{
	char text[64];
	unsigned long long n, us;

	snprintf(text, sizeof(text), "%s_bucket", name);
	n = print_buckets(out, text, first, s);
	us = service_sum(s, (enum count)(first + HISTOGRAM_BUCKETS + 1));
	snprintf(text, sizeof(text), "%s_sum", name);
	print_name(out, text, "", s);
	fprintf(out, "%llu.%06llu\n", us / 1000000, us % 1000000);
	snprintf(text, sizeof(text), "%s_count", name);
	print_name(out, text, "", s);
	fprintf(out, "%llu\n", n);
}

static void
print_histogram(FILE *out, const char *name, const char *help, enum count first,
    const struct services *list)
{
	print_help(out, name, "histogram", help);
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].proto == PROTO_TCP)
			print_histogram_of(out, name, first, &list->items[i]);
}

void
stats_print(FILE *out, const struct services *list)
{
	print_metrics(out, list);
	print_mappers(out, list);
	print_target_metric(out, list, "nsfwd_target_up",
	    "0: the last connection to the target failed, or it refused the "
	    "last datagram; of a range, at each port known. 1: it did not.",
	    target_is_up);
	print_target_metric(out, list, "nsfwd_target_ports_down",
	    "Ports of the target that are down, as --status counts them.",
	    count_ports_down);
	print_histogram(out, "nsfwd_dial_seconds",
	    "Time to connect to a target, of connections that have ended.",
	    COUNT_DIAL, list);
	print_histogram(out, "nsfwd_connection_seconds",
	    "Time from accept to end, of connections that have ended.",
	    COUNT_LIFE, list);
}
