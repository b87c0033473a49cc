/* Accepts the clients of a TCP map and keeps account of their connections. */

/*
 * Theory of operation
 *
 * This is the event loop of a mapper without workers, and of each worker. One
 * epoll watches the channel, the listeners (accept.c) and the descriptors of
 * the connections. `ops` leads to fork.c, which runs each connection in a
 * process of its own, or to worker.c, which runs all of them in this process.
 *
 * An accepted client gets a slot of the table and goes to ops->start(). When
 * its connection ends, fork.c or worker.c calls tcp_conn_ended(), which logs
 * the connection and frees the slot.
 *
 * A client takes its slot before the limit of max-source= is checked, so that
 * workers that accept at the same time count each other's clients.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tcp/tcp.h"

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/report.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/conn.h"
#include "dial/dial.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "mapper/rows.h"
#include "mapper/scoreboard.h"
#include "tcp/accept.h"
#include "tcp/conn_log.h"
#include "tcp/health.h"
#include "tcp/original.h"
#include "tcp/table.h"

#define EV_CHANNEL UINT64_MAX

bool
tcp_was_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == CHILD_KILL_SIGNAL;
}

/* Counts a connection. Its report can be forged. */
static void
count_conn(const struct tcp *t, msec started_at, const struct conn_report *r)
{
	msec life = now_ms() - started_at;

	atomic_fetch_add(&t->counts[COUNT_UP], r->up);
	atomic_fetch_add(&t->counts[COUNT_DOWN], r->down);
	histogram_add(t->counts, COUNT_LIFE, life * 1000);
	if (r->dial_us > 0)
		histogram_add(t->counts, COUNT_DIAL,
		    msec_min(r->dial_us - 1, (life + 1) * 1000));
	if (conn_is_unauthorized(t->args->map, r))
		atomic_fetch_add(&t->counts[COUNT_UNAUTHORIZED], 1);
	if (r->end != END_DIAL)
		return;
	atomic_fetch_add(&t->counts[COUNT_FAILED], 1);
	scoreboard_set_error(&t->state->error, r);
}

static void
log_and_count(struct tcp *t, const struct table *table, uint32_t i, int status)
{
	struct conn_report report = table_report(table, i);

	health_note_failures(t);
	conn_log(t->args->map, &table->slots[i].peer,
	    table->slots[i].started_at, &report,
	    tcp_was_killed(status) ? 0 : status);
	count_conn(t, table->slots[i].started_at, &report);
	health_note_conn(t, &table->slots[i], &report);
}

void
tcp_conn_ended(struct tcp *t, uint32_t i, int status)
{
	log_and_count(t, t->table, i, status);
	tcp_conn_failed(t, i);
}

void
tcp_conn_failed(struct tcp *t, uint32_t i)
{
	table_release(t->table, i);
	accept_release(&t->acceptor);
}

void
tcp_worker_exited(struct tcp *t, uint32_t number, int status)
{
	struct table *table = &t->tables->items[number];
	const uint32_t used = tables_used(t->tables, table);

	for (uint32_t i = 0; i < used; i++)
		if (table->pids[i]) {
			log_and_count(t, table, i, status);
			accept_uncount(&t->acceptor);
			table->pids[i] = 0;
		}
	table_reset(table);
}

void
tcp_detach_counts(struct tcp *t)
{
	static _Atomic uint32_t n_open;
	static _Atomic uint64_t counts[COUNTS];
	static struct mapper_state state;

	t->acceptor.shared_open = &n_open;
	t->acceptor.limits = state.limits;
	t->counts = counts;
	t->state = &state;
}

static void
add_open_bytes(const struct tables *tables, struct rows_reply *reply)
{
	for (uint32_t k = 0; k < tables->count; k++) {
		const struct table *table = &tables->items[k];
		const uint32_t used = tables_used(tables, table);

		for (uint32_t i = 0; i < used; i++)
			if (table->pids[i]) {
				reply->open_up += table->reports[i].up;
				reply->open_down += table->reports[i].down;
			}
	}
}

/*
 * Fills a page from the tables. The cursor counts through all slots of all
 * tables. Returns the next cursor.
 */
static uint32_t
fill_page(const struct tcp *t, uint32_t cursor, struct rows_reply *reply)
{
	const struct tables *tables = t->tables;
	const uint32_t capacity = tables->capacity;
	uint32_t k = cursor / capacity, i = cursor % capacity;

	for (; k < tables->count; k++, i = 0) {
		const struct table *table = &tables->items[k];
		const uint32_t used = tables_used(tables, table);

		for (; i < used; i++) {
			struct conn_report report;

			if (!table->pids[i])
				continue;
			if (reply->n == ROWS_MAX)
				return k * capacity + i;
			report = table_report(table, i);
			conn_log_row(&reply->rows[reply->n++], t->args->map,
			    &table->slots[i].peer, table->slots[i].started_at,
			    &report);
		}
	}
	return ROWS_END;
}

/* Not inline, so that the mapper touches its stack only for a page. */
__attribute__((noinline)) void
tcp_send_rows(const struct tcp *t, const struct rows_request *request)
{
	struct rows_reply reply = {.token = request->token};

	if (!request->cursor)
		add_open_bytes(t->tables, &reply);
	reply.next = fill_page(t, request->cursor, &reply);
	rows_send(t->args->channel, &reply);
}

static struct conn
make_conn(const struct tcp *t, int client, uint32_t i)
{
	const struct slot *slot = &t->table->slots[i];

	return (struct conn){
	    .map = t->args->map,
	    .client = client,
	    .udp_answer = -1,
	    .epoll = -1,
	    .port_index = slot->port_index,
	    .peer = slot->peer,
	    .seq = t->n_started,
	    .failures = t->tables->failures,
	    .deadline =
		deadline_after(slot->started_at, t->args->map->times.connect),
	    .report = &t->table->reports[i],
	};
}

static bool
source_allowed(const struct tcp *t, uint32_t i)
{
	uint32_t max = t->args->map->limits.per_source;

	return !max ||
	    tables_count_source(t->tables, &t->table->slots[i]) < max;
}

/* Returns why the connection in slot i is refused, and its counter; or NULL. */
static const char *
why_refused(const struct tcp *t, uint32_t i, struct conn *conn,
    enum count *count)
{
	*count = COUNT_CROWDED;
	if (!source_allowed(t, i))
		return "it has as many connections as max-source= allows";
	*count = COUNT_DENIED;
	if (map_is_original(conn->map) && original_read(conn) == -1)
		return "it was not redirected: it came to the port itself";
	return NULL;
}

/* Gives an accepted client a slot, and starts its connection. */
static void
start_conn(void *context, int client, uint16_t port_index,
    const union sockaddr_inet *peer)
{
	struct tcp *t = context;
	uint32_t i = table_take(t->table, t->pid, port_index, peer);
	struct conn conn = make_conn(t, client, i);
	enum count count;
	const char *why = why_refused(t, i, &conn, &count);

	if (why) {
		accept_refuse(&t->acceptor, client, peer, why, count);
		tcp_conn_failed(t, i);
		return;
	}
	t->n_started++;
	atomic_fetch_add(&t->counts[COUNT_STARTED], 1);
	conn_log_opened(t->args->map, peer);
	t->dial_deadline = conn.deadline;
	t->ops->start(i, &conn);
}

int
tcp_init(struct tcp *t, const struct mapper_args *args, uint32_t n_tables)
{
	t->args = args;
	t->counts = args->count;
	t->state = args->state;
	t->opener_channel = args->udp_channel;
	t->acceptor.start = start_conn;
	t->acceptor.context = t;
	t->tables = tables_init(args->map, n_tables, args->max_open);
	if (!t->tables)
		return -1;
	t->table = t->tables->items;
	return accept_init(&t->acceptor, args);
}

int
tcp_watch(const struct tcp *t, int fd, uint64_t data)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};

	return epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &ev);
}

int
tcp_listen(struct tcp *t, const struct tcp_ops *ops, int channel,
    uint32_t flags)
{
	t->ops = ops;
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (t->epoll == -1 || tcp_watch(t, channel, EV_CHANNEL) == -1)
		return -1;
	return accept_listen(&t->acceptor, t->epoll, flags);
}

void
tcp_drain(struct tcp *t)
{
	if (!t->draining)
		accept_close(&t->acceptor);
	t->draining = true;
}

static void
handle_event(struct tcp *t, const struct epoll_event *ev)
{
	if (ev->data.u64 == EV_CHANNEL)
		t->ops->channel_event();
	else if (ev->data.u64 >= TCP_EV_CONN)
		t->ops->conn_event(ev->data.u64 - TCP_EV_CONN, ev->events);
}

/*
 * Waits for events and handles them. Listeners come last, because a command may
 * have closed them, and because a new connection must not get the slot of a
 * connection that has ended while events for it are left.
 */
static void
wait_and_handle(struct tcp *t, msec deadline)
{
	struct epoll_event *ev = t->events;
	int n =
	    epoll_wait(t->epoll, ev, TCP_EVENTS_MAX, poll_timeout(deadline));

	for (int i = 0; i < n; i++)
		handle_event(t, &ev[i]);
	for (int i = 0; i < n && !t->draining; i++)
		if (ev[i].data.u64 < TCP_EV_CONN)
			accept_event(&t->acceptor, (uint32_t)ev[i].data.u64,
			    ev[i].events);
}

/*
 * Runs the timers that are due. Returns when to run the next, or NEVER. The
 * timers of connections run first, because an ended connection makes room for a
 * client.
 */
static msec
run_timers(struct tcp *t)
{
	msec now = now_ms();
	msec conns_due = t->ops->run_timers(now);
	msec accept_due = accept_run_timers(&t->acceptor, now);

	return msec_min(health_run(t, now), msec_min(conns_due, accept_due));
}

_Noreturn void
tcp_run(struct tcp *t)
{
	msec deadline = NEVER;

	while (!t->draining || t->acceptor.n_open || t->n_kept) {
		wait_and_handle(t, deadline);
		deadline = run_timers(t);
	}
	log_left_out();
	_exit(0);
}
