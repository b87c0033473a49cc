/* The mapper of a TCP map: its connections, the orders that it gets, its end. */

/*
 * Theory of operation
 *
 * One epoll has the channel, the listeners, which accept.c handles, and what
 * the mode adds: the signals of processes (fork.c), or the sockets of the
 * connections themselves (worker.c). A client that was accepted gets a slot and
 * is handed to the mode; when its connection has ended, the mode says so, and
 * the slot is free again.
 */

#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/report.h"
#include "config/map.h"
#include "dial/conn.h"
#include "mapper/mapper.h"
#include "tcp/accept.h"
#include "tcp/conn_log.h"
#include "tcp/fork.h"
#include "tcp/table.h"
#include "tcp/tcp.h"
#include "tcp/worker.h"
#include "udp/associate.h"

#define EVENTS     32
#define NO_SLOT    UINT32_MAX
#define EV_COMMAND UINT64_MAX          /* in epoll's data */
#define EV_MODE    ((uint64_t)1 << 32) /* and more: the mode's; less: a listener */

/* How connections live: each in a process of its own, or all in this one. */
struct conn_mode {
	void (*start)(uint32_t i, struct conn *);
	void (*event)(uint64_t data, uint32_t events);
	msec (*run_timers)(
	    msec at); /* what it returns is when it is due again */
};

/*
 * Without workers there is one table. Of several each has its own, and sees
 * those of the others: what a client address has is counted over all, and what
 * became of the connections of one that died is said by its crew.
 */
struct tcp_mapper {
	const struct mapper_args *args;
	const struct map *map;
	const struct conn_mode *mode;
	struct acceptor acceptor;
	struct table *tables, *my_table;
	uint32_t n_tables;
	uint32_t free_slot; /* the first free slot of those that were used */
	pid_t worker_pid;   /* what it is; 0: a mapper without workers */
	int channel, epoll;
	uint32_t turn; /* connections so far */
	bool draining, killing;
};

static struct tcp_mapper mapper;

static uint32_t
take_slot(struct tcp_mapper *m, uint16_t index, const union sockaddr_inet *peer)
{
	uint32_t i = m->free_slot;
	struct slot *slot;

	if (i == NO_SLOT)
		i = m->my_table->used++;
	else
		m->free_slot = m->my_table->slots[i].next;
	slot = &m->my_table->slots[i];
	slot->peer = *peer;
	slot->index = index;
	slot->started_at = now_ms();
	atomic_store(&slot->ticket, 0);
	memset(&m->my_table->reports[i], 0, sizeof(*m->my_table->reports));
	/* Other workers look at all of this once they see the pid. */
	atomic_thread_fence(memory_order_release);
	m->my_table->pids[i] = m->worker_pid;
	return i;
}

static void
free_slot(struct tcp_mapper *m, uint32_t i)
{
	m->my_table->pids[i] = 0;
	m->my_table->slots[i].next = m->free_slot;
	m->free_slot = i;
	accept_release(&m->acceptor);
}

/* The tally is read once: other connections could write it while we do. */
static void
log_and_count(const struct tcp_mapper *m, const struct table *table, uint32_t i,
    int status)
{
	struct conn_report report;

	memcpy(&report, &table->reports[i], sizeof(report));
	atomic_signal_fence(memory_order_seq_cst);
	conn_log(m->map, &table->slots[i].peer, table->slots[i].started_at,
	    &report, status);
	atomic_fetch_add(&m->args->count[COUNT_UP], report.up);
	atomic_fetch_add(&m->args->count[COUNT_DOWN], report.down);
	if (report.end == END_DIAL)
		atomic_fetch_add(&m->args->count[COUNT_FAILED], 1);
}

/* A proxy has UDP sockets where its clients are, for the first slots. */
static int
udp_relay_of(const struct tcp_mapper *m, uint32_t i)
{
	const struct listener *l = m->args->listeners + m->args->n_listeners;
	const union sockaddr_inet *peer = &m->my_table->slots[i].peer;

	/* What would send it datagrams is in front of a proxy. */
	if (cidr_match(&m->map->accept_proxy, peer))
		return -1;
	for (size_t k = 0; k < m->args->n_udp_relays; k++)
		if (l[k].family == peer->sa.sa_family && i-- == 0)
			return l[k].fd;
	return -1;
}

static void
conn_ended(uint32_t i, int status)
{
	int udp = udp_relay_of(&mapper, i);

	if (udp != -1)
		udp_associate_mute(udp);
	log_and_count(&mapper, mapper.my_table, i, mapper.killing ? 0 : status);
	free_slot(&mapper, i);
}

void
pool_mark_draining(void)
{
	mapper.tables->pool_draining = true;
}

void
table_worker_died(uint32_t table, int status)
{
	struct table *t = &mapper.tables[table];

	for (uint32_t i = 0; i < t->used; i++)
		if (t->pids[i]) {
			log_and_count(&mapper, t, i, status);
			accept_uncount(&mapper.acceptor);
			t->pids[i] = 0;
		}
	t->used = 0;
}

static struct conn
make_conn(const struct tcp_mapper *m, int client, uint32_t i)
{
	const struct slot *slot = &m->my_table->slots[i];

	return (struct conn){
	    .map = m->map,
	    .client = client,
	    .udp_fd = udp_relay_of(m, i),
	    .port_index = slot->index,
	    .peer = slot->peer,
	    .seq = m->turn,
	    .target_failed_at = m->tables->failed,
	    .deadline = deadline_after(slot->started_at, m->map->times.connect),
	    .report = &m->my_table->reports[i],
	};
}

static bool
may_have(const struct tcp_mapper *m, uint32_t i)
{
	uint32_t max = m->map->limits.per_source;

	return !max ||
	    table_count_source(m->tables, m->n_tables, &m->my_table->slots[i]) <
	    max;
}

/*
 * Gives a client that was accepted a slot, and hands it to the mode. The slot
 * comes first, so that other workers count the client, too.
 */
static void
start_conn(int client, uint16_t index, const union sockaddr_inet *peer)
{
	struct tcp_mapper *m = &mapper;
	uint32_t i = take_slot(m, index, peer);
	struct conn conn;

	if (!may_have(m, i)) {
		accept_refuse(&m->acceptor, client, peer,
		    "it has max-source= connections");
		free_slot(m, i);
		return;
	}
	conn = make_conn(m, client, i);
	m->turn++;
	atomic_fetch_add(&m->args->count[COUNT_STARTED], 1);
	m->mode->start(i, &conn);
}

/* Closing a client here resets it: it inherited that from the listener. */
static void
start_process(uint32_t i, struct conn *conn)
{
	struct tcp_mapper *m = &mapper;
	pid_t pid = fork_conn(conn);

	close(conn->client);
	m->my_table->pids[i] = pid;
	if (pid != -1)
		return;
	free_slot(m, i);
	accept_pause(&m->acceptor, "fork");
}

static void
process_event(uint64_t data, uint32_t events)
{
	(void)data;
	(void)events;
	fork_handle_sigchld();
}

static const struct conn_mode processes = {start_process, process_event,
    fork_run_timers};

static const struct conn_mode loop = {worker_add_conn, worker_event,
    worker_run_timers};

/*
 * Connections only: the listeners are the server's to keep or to close. When
 * the crew has died, the count is its successor's, who began with none.
 */
static void
drain(struct tcp_mapper *m)
{
	static _Atomic uint32_t private_count;
	static _Atomic uint64_t shared_count[COUNTS];
	static struct mapper_args args;

	if (m->worker_pid && !m->tables->pool_draining) {
		args = *m->args;
		args.count = shared_count;
		m->args = &args;
		atomic_store(&private_count, m->acceptor.n_open);
		m->acceptor.shared_open = &private_count;
	}
	accept_close(&m->acceptor);
	m->draining = true;
}

static void
kill_all(struct tcp_mapper *m)
{
	m->killing = true;
	for (uint32_t i = 0; i < m->my_table->used; i++)
		if (m->my_table->pids[i])
			kill(m->my_table->pids[i], SIGKILL);
}

void
table_dump(int channel)
{
	const struct tcp_mapper *m = &mapper;

	for (const struct table *t = m->tables; t < m->tables + m->n_tables;
	     t++)
		for (uint32_t i = 0; i < t->used; i++)
			if (t->pids[i])
				conn_log_row(m->map, &t->slots[i].peer,
				    t->slots[i].started_at, &t->reports[i]);
	send(channel, &(int){0}, sizeof(int), MSG_NOSIGNAL);
}

/* The server's word; the end of the channel is the end of the server. */
static void
handle_command(struct tcp_mapper *m)
{
	char command = CMD_DRAIN;
	ssize_t n = recv(m->channel, &command, 1, MSG_DONTWAIT);

	if (n == -1)
		return;
	if (n == 0)
		epoll_ctl(m->epoll, EPOLL_CTL_DEL, m->channel, NULL);
	if (command == CMD_DUMP)
		table_dump(m->channel);
	else if (!m->draining)
		drain(m);
	if (command == CMD_KILL)
		kill_all(m);
}

static msec
min_msec(msec a, msec b)
{
	return a < b ? a : b;
}

/*
 * Does what is due; returns for how long there is nothing to do, for
 * epoll_wait(2). The mode comes first: clients may wait for the end of one of
 * its connections.
 */
static int
run_timers(struct tcp_mapper *m)
{
	msec at = now_ms(), next = m->mode->run_timers(at);

	next = min_msec(next, accept_run_timers(&m->acceptor, at));
	return next == NEVER      ? -1
	    : next <= at          ? 0
	    : next - at > INT_MAX ? INT_MAX
				  : (int)(next - at);
}

/* Listeners come last: an order may have closed them. */
static void
loop_once(struct tcp_mapper *m)
{
	static struct epoll_event ev[EVENTS]; /* a fork copies the stack */
	int span = run_timers(m), n;

	if (m->draining && !m->acceptor.n_open)
		return;
	n = epoll_wait(m->epoll, ev, EVENTS, span);
	for (int i = 0; i < n; i++) {
		if (ev[i].data.u64 == EV_COMMAND)
			handle_command(m);
		else if (ev[i].data.u64 >= EV_MODE)
			m->mode->event(ev[i].data.u64 - EV_MODE, ev[i].events);
	}
	for (int i = 0; i < n && !m->draining; i++)
		if (ev[i].data.u64 < EV_MODE)
			accept_event(&m->acceptor, (uint32_t)ev[i].data.u64,
			    ev[i].events);
}

static int
init_epoll(struct tcp_mapper *m)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = EV_COMMAND};

	m->epoll = epoll_create1(EPOLL_CLOEXEC);
	return m->epoll == -1
	    ? -1
	    : epoll_ctl(m->epoll, EPOLL_CTL_ADD, m->channel, &ev);
}

/*
 * The counts are not for connections: what the limits rest on stays out of
 * their reach.
 */
int
tcp_init(const struct mapper_args *args)
{
	uint32_t max_open = args->map->limits.conns, max = args->max_conns;
	struct tcp_mapper *m = &mapper;

	m->args = args;
	m->map = args->map;
	m->channel = args->channel;
	m->n_tables = m->map->workers ? m->map->workers : 1;
	m->free_slot = NO_SLOT;
	max_open = !max_open || (max && max < max_open) ? max : max_open;
	m->tables = m->my_table = table_init(m->map, m->n_tables, max_open);
	m->acceptor.start = start_conn;
	if (!m->tables || accept_init(&m->acceptor, args, max_open) == -1)
		return -1;
	if (m->map->workers)
		return worker_alloc(m->map, max_open);
	m->mode = &processes;
	if (init_epoll(m) == -1 ||
	    fork_init(args, m->epoll, EV_MODE, m->my_table->pids,
		&m->my_table->used, conn_ended) == -1 ||
	    accept_listen(&m->acceptor, m->epoll, false) == -1)
		return -1;
	return madvise(args->scoreboard, sizeof(*args->scoreboard),
	    MADV_DONTFORK);
}

_Noreturn void
tcp_run(void)
{
	while (!mapper.draining || mapper.acceptor.n_open)
		loop_once(&mapper);
	_exit(0);
}

_Noreturn void
worker_main(uint32_t table, int channel)
{
	struct tcp_mapper *m = &mapper;

	m->mode = &loop;
	m->worker_pid = getpid();
	m->my_table = &m->tables[table];
	m->channel = channel;
	if (init_epoll(m) == -1 ||
	    accept_listen(&m->acceptor, m->epoll, true) == -1)
		_exit(1);
	worker_init(m->epoll, EV_MODE, m->my_table->reports, conn_ended);
	tcp_run();
}
