/* Gathers the figures of a service, from the scoreboard and its mappers. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/advice.h"
#include "base/clock.h"
#include "base/errname.h"
#include "base/report.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/why.h"
#include "mapper/rows.h"
#include "mapper/scoreboard.h"
#include "mapper/target_state.h"
#include "server/mapper_proc.h"
#include "server/service.h"
#include "server/service_row.h"
#include "server/status.h"

unsigned long long
service_sum(const struct service *s, enum count counter)
{
	unsigned long long sum = s->past_counts[counter];

	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (m->service == s)
			sum += mapper_count(m, counter);
	return sum;
}

uint32_t
service_ports_down(const struct service *s, size_t i, bool *any_up)
{
	return s->mapper ? target_ports_down(&mapper_state(s->mapper)->targets,
			       s->map, (uint32_t)i, any_up)
			 : 0;
}

static void
fill_state(struct service_row *row, const struct service *s)
{
	bool any_up = false, all_down = true;
	uint32_t down;

	for (size_t i = 0; i < s->map->n_targets; i++) {
		down = service_ports_down(s, i, &any_up);
		row->targets += target_ports(s->map, (uint32_t)i);
		row->targets_down += down;
		all_down &= down > 0;
	}
	row->state = !s->mapper      ? "waits"
	    : all_down && !any_up    ? "down"
	    : mapper_full(s->mapper) ? "full"
				     : "ok";
}

/* Copies the newest error of the service, which a mapper can forge. */
static void
find_last_error(struct mapper_error *last, const struct service *s)
{
	memcpy(last, &s->past_error, sizeof(*last));
	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (m->service == s && mapper_state(m)->error.at > last->at)
			memcpy(last, &mapper_state(m)->error, sizeof(*last));
}

/* Writes the name of an errno, and what it means. */
static void
format_error(struct service_row *row, const struct service *s,
    const struct mapper_error *e)
{
	const struct conn_report report = {
	    .hop_status = e->hop_status,
	    .target = e->target,
	    .peer = e->peer,
	    .server = e->server,
	};
	char advice[ADVICE_SIZE];
	const char *why = dial_why(advice, s->map, &report, e->error);

	snprintf(row->error, sizeof(row->error), "%s%s%s%s",
	    errno_name(e->error), why ? " (" : "", why ? why : "",
	    why ? ")" : "");
}

static void
fill_error(struct service_row *row, const struct service *s)
{
	struct mapper_error last;

	find_last_error(&last, s);
	row->error_at = last.at;
	if (!s->mapper)
		status_format_wait(row->error, sizeof(row->error), s);
	else if (last.at)
		format_error(row, s, &last);
}

/* Adds the bytes of open connections, which no counter has. */
static void
add_open(struct service_row *row, const struct mapper_proc *m,
    struct asker *asker)
{
	struct rows_reply reply;

	if (!asker->may_ask || m->exited ||
	    rows_ask(m->channel, ++asker->token, 0, &reply,
		msec_min(asker->deadline, now_ms() + ASK_MS)) == -1)
		return;
	row->up += reply.open_up;
	row->down += reply.open_down;
}

void
service_row_fill(struct service_row *row, const struct service *s,
    struct asker *asker)
{
	*row = (struct service_row){
	    .open = service_sum(s, COUNT_OPEN),
	    .total = service_sum(s, COUNT_STARTED),
	    .failed = service_sum(s, COUNT_FAILED) +
		service_sum(s, COUNT_DROPPED + DROP_UP) +
		service_sum(s, COUNT_DROPPED + DROP_REFUSED) +
		service_sum(s, COUNT_DROPPED + DROP_DOWN),
	    .refused = service_sum(s, COUNT_DENIED) +
		service_sum(s, COUNT_CROWDED) +
		service_sum(s, COUNT_UNAUTHORIZED) +
		service_sum(s, COUNT_DROPPED + DROP_SOURCE) +
		service_sum(s, COUNT_DROPPED + DROP_LIMIT),
	    .up = service_sum(s, COUNT_UP),
	    .down = service_sum(s, COUNT_DOWN),
	};
	fill_state(row, s);
	fill_error(row, s);
	if (s->proto == PROTO_UDP)
		return;
	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (m->service == s)
			add_open(row, m, asker);
}
