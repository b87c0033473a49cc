/* What the maps have done so far, for people and for Prometheus. */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proctitle.h"
#include "base/sandbox.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "server/mapper_proc.h"
#include "server/service.h"
#include "server/stats.h"

#define ANSWER_S       3    /* for a reader of the metrics */
#define ANSWER_MS      1000 /* for all mappers to log what is open */
#define STATS_PAUSE_MS 100  /* after the machine ran out of something */
#define REQUEST_MS     50   /* for a reader of the metrics to ask, if it does */

static unsigned long long
sum_counter(const struct service *s, enum count counter)
{
	unsigned long long sum = s->past_counts[counter];

	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (m->service == s)
			sum += mapper_count(m, counter);
	return sum;
}

/*
 * Waits until a mapper has logged its part of the table, so that the parts stand
 * in order. A signal to the server is not to wait for that.
 */
static bool
wait_answers(const struct mapper_proc *m, int signals, msec deadline)
{
	struct pollfd watched[] = {
	    {.fd = m->channel, .events = POLLIN},
	    {.fd = signals, .events = POLLIN},
	};
	msec left = deadline - now_ms();

	return poll(watched, 2, left > 0 ? (int)left : 0) > 0 &&
	    watched[0].revents;
}

/* What it said when nobody listened must not be taken for the answer. */
static void
ask_mapper_rows(const struct mapper_proc *m, int signals, msec deadline)
{
	int old;

	while (recv(m->channel, &old, sizeof(old), MSG_DONTWAIT) > 0)
		;
	mapper_send_command(m, CMD_DUMP);
	if (!wait_answers(m, signals, deadline))
		log_error("table:   process %d has not answered yet",
		    (int)m->pid);
}

static void
log_service_row(const struct service *s, int signals, msec deadline)
{
	log_error("table: %8llu %10llu %8llu %8llu %12llu %12llu  %s%s",
	    sum_counter(s, COUNT_OPEN), sum_counter(s, COUNT_STARTED),
	    sum_counter(s, COUNT_FAILED), sum_counter(s, COUNT_REFUSED),
	    sum_counter(s, COUNT_UP), sum_counter(s, COUNT_DOWN), s->map->spec,
	    s->mapper ? "" : " (waits)");
	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (m->service == s && !m->exited)
			ask_mapper_rows(m, signals, deadline);
}

void
stats_log_table(const struct services *list, int signals)
{
	msec deadline = now_ms() + ANSWER_MS;

	log_error("table: %8s %10s %8s %8s %12s %12s  MAP", "OPEN", "BEGUN",
	    "FAILED", "REFUSED", "UP", "DOWN");
	for (size_t i = 0; i < list->count; i++)
		log_service_row(&list->items[i], signals, deadline);
}

/* Counts with one name are next to each other: the format wants it so. */
static const struct metric {
	const char *name, *label, *help;
	enum count count;
	unsigned proto; /* the services that have it */
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
    {"nsfwd_mapper_starts_total", "", "Births of mappers.", COUNTS,
	PROTO_TCP | PROTO_UDP},
};

static void
put_metric(FILE *out, const struct metric *m, const struct service *s)
{
	fprintf(out, "%s{proto=\"%s\"%s,map=\"", m->name,
	    s->proto == PROTO_UDP ? "udp" : "tcp", m->label);
	for (const char *c = s->map->spec; *c; c++)
		fprintf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
	fprintf(out, "\"} %llu\n",
	    m->count == COUNTS ? s->mapper_starts : sum_counter(s, m->count));
}

static void
put_metrics(FILE *out, const struct services *list)
{
	static const struct metric *const end = metrics + ARRAY_LEN(metrics);

	for (const struct metric *m = metrics; m < end; m++) {
		if (m->help)
			fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name,
			    m->help, m->name,
			    m->count == COUNT_OPEN ? "gauge" : "counter");
		for (size_t i = 0; i < list->count; i++)
			if (list->items[i].proto & m->proto)
				put_metric(out, m, &list->items[i]);
	}
}

/*
 * Who asks does it in HTTP, at once. What is not read of a request would cost its
 * sender the answer. Others only read.
 */
static bool
stats_read_request(int client)
{
	struct pollfd ready = {.fd = client, .events = POLLIN};
	char text[4096];
	size_t used = 0;
	ssize_t n = 1;

	while (n > 0 && used < sizeof(text) - 1 &&
	    poll(&ready, 1, REQUEST_MS) == 1) {
		n = recv(client, text + used, sizeof(text) - 1 - used, 0);
		used += n > 0 ? (size_t)n : 0;
		text[used] = '\0';
		if (strstr(text, "\r\n\r\n"))
			break;
	}
	return used > 0;
}

/* The reader may be slow: it has a process to itself, for a while. */
static _Noreturn void
answer(int client, const struct services *list, const struct cred *cred,
    pid_t server)
{
	FILE *out;

	proctitle_set("metrics", "", "");
	fd_close_except(&client, 1);
	alarm(ANSWER_S);
	if (sandbox_drop_privileges(cred, false) == -1 ||
	    sandbox_die_with_parent(server) == -1)
		_exit(1);
	out = fdopen(client, "w");
	if (!out)
		_exit(1);
	if (stats_read_request(client))
		fputs("HTTP/1.0 200 OK\r\nContent-Type: text/plain; "
		      "version=0.0.4; charset=utf-8\r\n\r\n",
		    out);
	put_metrics(out, list);
	_exit(fflush(out) == 0 ? 0 : 1);
}

pid_t
stats_serve(int listener, const struct services *list, const struct cred *cred)
{
	int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	pid_t server = getpid(), pid = -1;

	if (client != -1)
		pid = fork();
	if (pid == 0)
		answer(client, list, cred, server);
	/* EAGAIN: who came has gone again, or there is no process to be had. */
	if (pid == -1 && (client != -1 || errno != EAGAIN)) {
		log_ratelimited("--stats: %s", strerror(errno));
		poll(NULL, 0,
		    STATS_PAUSE_MS); /* the client still waits, maybe */
	}
	if (client != -1)
		close(client);
	return pid > 0 ? pid : 0;
}
