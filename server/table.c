/* Prints tables of services, and of open connections and flows. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "config/map.h"
#include "mapper/rows.h"
#include "netns.h"
#include "server/mapper_proc.h"
#include "server/service.h"
#include "server/service_row.h"
#include "server/table.h"

/* Prints a row, or logs it if out is NULL. */
typedef void row_printer(FILE *out, const struct service *, const struct row *);

/* Returns the milliseconds since an instant that can be forged. */
static unsigned long long
age_of(msec at)
{
	msec now = now_ms();

	return at > 0 && at < now ? (unsigned long long)(now - at) : 0;
}

/*
 * Prints the open connections or flows of a mapper. Trusts no row, because a
 * client can have hijacked the mapper. Returns false if the mapper did not
 * answer.
 */
static bool
print_rows(FILE *out, const struct mapper_proc *m, row_printer *print,
    struct asker *asker)
{
	struct rows_reply reply;
	uint32_t cursor = 0;

	do {
		msec deadline = msec_min(asker->deadline, now_ms() + ASK_MS);

		if (rows_ask(m->channel, ++asker->token, cursor, &reply,
			deadline) == -1)
			return false;
		for (uint32_t i = 0; i < reply.n; i++) {
			struct row *row = &reply.rows[i];

			row->target[ROW_TARGET_SIZE - 1] = '\0';
			print(out, m->service, row);
		}
		if (reply.next <= cursor)
			break;
		cursor = reply.next;
	} while (cursor != ROWS_END);
	return true;
}

static void
log_row(FILE *none, const struct service *s, const struct row *row)
{
	char client[SOCKADDR_STRLEN];

	(void)none;
	(void)s;
	log_error("table:   %s > %s up=%llu down=%llu ms=%llu",
	    sockaddr_format(&row->client.sa, client), row->target,
	    (unsigned long long)row->up, (unsigned long long)row->down,
	    age_of(row->started_at));
}

static void
log_service(const struct service *s, struct asker *asker)
{
	struct service_row row;
	char text[NS_TEXT_SIZE];

	service_row_fill(&row, s, asker);
	log_error("table: %8llu %10llu %8llu %8llu %12llu %12llu  %s%s",
	    row.open, row.total, row.failed, row.refused, row.up, row.down,
	    s->map->spec, s->mapper ? "" : " (waits)");
	if (*ns_describe(&s->map->listen_ns, text))
		log_error("table:   %s", text);
	if (*ns_describe(&s->map->target_ns, text))
		log_error("table:   %s", text);
	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (m->service == s && !m->exited &&
		    !print_rows(NULL, m, log_row, asker))
			log_error("table:   process %d has not answered yet",
			    (int)m->pid);
}

void
table_log(const struct services *list, struct asker *asker)
{
	log_error("table: %8s %10s %8s %8s %12s %12s  MAP", "OPEN", "BEGUN",
	    "FAILED", "REFUSED", "UP", "DOWN");
	for (size_t i = 0; i < list->count; i++)
		log_service(&list->items[i], asker);
}

/* Prints a text with '?' in place of control bytes, and a tab or a newline. */
static void
print_text(FILE *out, const char *text, char end)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
	}
	fputc(end, out);
}

static void
print_count(FILE *out, unsigned long long n)
{
	fprintf(out, "%llu\t", n);
}

static void
print_service(FILE *out, const struct service *s, struct asker *asker)
{
	struct service_row row;

	service_row_fill(&row, s, asker);
	print_text(out, s->map->spec, '\t');
	print_text(out, s->proto == PROTO_UDP ? "udp" : "tcp", '\t');
	print_text(out, ns_spec(&s->map->listen_ns), '\t');
	print_text(out, ns_spec(&s->map->target_ns), '\t');
	print_text(out, row.state, '\t');
	print_count(out, row.targets);
	print_count(out, row.targets_down);
	print_count(out, row.open);
	print_count(out, row.total);
	print_count(out, row.failed);
	print_count(out, row.refused);
	print_count(out, row.up);
	print_count(out, row.down);
	if (row.error_at)
		print_count(out, age_of(row.error_at));
	else
		fputc('\t', out);
	print_text(out, row.error, '\n');
}

void
table_print_maps(FILE *out, const struct services *list, struct asker *asker)
{
	fputs("map\tproto\tfrom\tto\tstate\ttargets\ttargets_down\topen\t"
	      "total\tfailed\trefused\tup\tdown\terror_ms\terror\n",
	    out);
	for (size_t i = 0; i < list->count; i++)
		print_service(out, &list->items[i], asker);
}

static void
print_row(FILE *out, const struct service *s, const struct row *row)
{
	char client[SOCKADDR_STRLEN];

	print_text(out, sockaddr_format(&row->client.sa, client), '\t');
	print_text(out, row->target, '\t');
	print_count(out, row->up);
	print_count(out, row->down);
	print_count(out, age_of(row->started_at));
	print_text(out, s->map->spec, '\n');
}

/* Returns true if the name is part of the text, or one of the ports. */
static bool
is_named(const struct map *map, const char *name)
{
	uint32_t port;

	return strstr(map->spec, name) ||
	    (parse_uint(name, 1, UINT16_MAX, &port) &&
		port >= map->listen.port_first &&
		port <= map->listen.port_last);
}

void
table_print_open(FILE *out, const struct services *list, const char *name,
    struct asker *asker)
{
	bool found = false;

	for (size_t i = 0; i < list->count; i++) {
		const struct service *s = &list->items[i];

		if (!is_named(s->map, name))
			continue;
		if (!found)
			fputs("client\ttarget\tup\tdown\tage_ms\tmap\n", out);
		found = true;
		for (struct mapper_proc *m = mapper_list(); m; m = m->next)
			if (m->service == s && !m->exited)
				print_rows(out, m, print_row, asker);
	}
}
