/* Notes which targets are down, and logs each change once. */

/*
 * Theory of operation
 *
 * A connection that fails to reach one target and is accepted by the next one
 * can stay open for days, and so can one that finds a target to be back. So
 * the process that dials writes each failure to target_failures, and in its
 * report that it is connected. The mapper looks there, a second apart, while a
 * connection may still dial; at reports only while a target is down.
 *
 * A map with one target has no target_failures: its connection ends when it
 * has failed.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tcp/health.h"

#include "base/clock.h"
#include "base/report.h"
#include "config/map.h"
#include "dial/balance.h"
#include "mapper/mapper.h"
#include "mapper/scoreboard.h"
#include "mapper/target_state.h"
#include "tcp/conn_log.h"
#include "tcp/table.h"
#include "tcp/tcp.h"

#define HEALTH_MS 1000 /* between two looks */

static void
note_failed(const struct tcp *t, const struct conn_report *r, uint32_t port,
    msec at)
{
	const struct map *map = t->args->map;

	if (target_set_down(&t->state->targets,
		target_number(map, r->target, port), at))
		conn_log_down(map, r, port);
}

static void
note_reached(const struct tcp *t, const struct slot *slot,
    const struct conn_report *r)
{
	const struct map *map = t->args->map;
	const uint32_t port = slot->port_index;
	msec down_at = target_set_up(&t->state->targets,
	    target_number(map, r->target, port), slot->started_at);

	if (down_at)
		conn_log_up(map, r, port, now_ms() - down_at);
}

/*
 * Notes a failure, which can be forged, unless it is older than the last look.
 * Not inline, for the reason of write_conn_line().
 */
__attribute__((noinline)) static void
note_failure(const struct tcp *t, const struct target_failure *shared)
{
	const struct map *map = t->args->map;
	struct conn_report r = {0};
	struct target_failure f;
	msec at;

	memcpy(&f, shared, sizeof(f));
	atomic_signal_fence(memory_order_seq_cst);
	at = msec_min(f.at, now_ms());
	r.target = f.number / map_ports(map);
	if (at <= 0 || at < t->noted_at || r.target >= map->n_targets)
		return;
	r.error = f.error;
	r.hop_status = f.hop_status;
	r.peer = f.peer;
	r.server = f.server;
	if (at > t->state->error.at)
		scoreboard_set_error(&t->state->error, &r);
	note_failed(t, &r,
	    f.number % map_ports(map) % target_ports(map, r.target), at);
}

void
health_note_failures(struct tcp *t)
{
	const struct target_failures *failures = t->tables->failures;
	const uint32_t before = t->n_failures;
	msec now;

	if (!failures || (t->n_failures = failures->count) == before)
		return;
	now = now_ms();
	for (uint32_t i = 0; i < balance_failures_size(t->args->map); i++)
		if (failures->items[i].at >= t->noted_at)
			note_failure(t, &failures->items[i]);
	t->noted_at = now;
}

/* Notes the targets that open connections are connected to. */
__attribute__((noinline)) static void
note_open(const struct tcp *t)
{
	const struct table *table = t->table;
	struct conn_report r;

	for (uint32_t i = 0; i < table->used; i++) {
		if (!table->pids[i] || table->reports[i].dial_us <= 0)
			continue;
		r = table_report(table, i);
		health_note_conn(t, &table->slots[i], &r);
	}
}

msec
health_run(struct tcp *t, msec now)
{
	if (!t->acceptor.n_open ||
	    (!t->tables->failures && !t->state->targets.any_down))
		return NEVER;
	if (now - t->looked_at >= HEALTH_MS) {
		t->looked_at = now;
		health_note_failures(t);
		if (targets_any_down(&t->state->targets))
			note_open(t);
	}
	return t->looked_at < t->dial_deadline ? t->looked_at + HEALTH_MS
					       : NEVER;
}

void
health_note_conn(const struct tcp *t, const struct slot *slot,
    const struct conn_report *r)
{
	const struct map *map = t->args->map;

	if (r->target >= map->n_targets || r->requested[0] ||
	    map_client_chooses(map))
		return;
	if (r->dial_us > 0)
		note_reached(t, slot, r);
	else if (r->end == END_DIAL)
		note_failed(t, r, slot->port_index, now_ms());
}
