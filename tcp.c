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
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "associate.h"
#include "tcp.h"

#define EVENTS  32
#define NO_SLOT UINT32_MAX
#define CHANNEL UINT64_MAX          /* in epoll's data */
#define MODE    ((uint64_t)1 << 32) /* and more: the mode's; less: a listener */

/* How connections live: each in a process of its own, or all in this one. */
struct mode {
	void (*begin)(uint32_t i, struct call *);
	void (*event)(uint64_t data, uint32_t events);
	deadline (*due)(
	    deadline at); /* what it returns is when it is due again */
};

/*
 * Without workers there is one table. Of several each has its own, and sees
 * those of the others: what a client address has is counted over all, and what
 * became of the connections of one that died is said by its crew.
 */
struct mapper {
	const struct post *post;
	const struct map *map;
	const struct mode *mode;
	struct acceptor gate;
	struct table *table, *own;
	uint32_t tables;
	uint32_t free; /* the first free slot of those that were used */
	pid_t worker;  /* what it is; 0: a mapper without workers */
	int channel, epoll;
	uint32_t turn; /* connections so far */
	bool draining, killing;
};

static struct mapper mapper;

static uint32_t
take_slot(struct mapper *m, uint16_t index, const union peer *peer)
{
	uint32_t i = m->free;
	struct slot *slot;

	if (i == NO_SLOT)
		i = m->own->used++;
	else
		m->free = m->own->slot[i].next;
	slot = &m->own->slot[i];
	slot->peer = *peer;
	slot->index = index;
	slot->born = now();
	atomic_store(&slot->ticket, 0);
	memset(&m->own->tally[i], 0, sizeof(*m->own->tally));
	/* Other workers look at all of this once they see the pid. */
	atomic_thread_fence(memory_order_release);
	m->own->pid[i] = m->worker;
	return i;
}

static void
free_slot(struct mapper *m, uint32_t i)
{
	m->own->pid[i] = 0;
	m->own->slot[i].next = m->free;
	m->free = i;
	accept_ended(&m->gate);
}

/* The tally is read once: other connections could write it while we do. */
static void
report(const struct mapper *m, const struct table *table, uint32_t i,
    int status)
{
	struct tally tally;

	memcpy(&tally, &table->tally[i], sizeof(tally));
	atomic_signal_fence(memory_order_seq_cst);
	conn_log(m->map, &table->slot[i].peer, table->slot[i].born, &tally,
	    status);
	atomic_fetch_add(&m->post->count[COUNT_UP], tally.up);
	atomic_fetch_add(&m->post->count[COUNT_DOWN], tally.down);
	if (tally.end == END_DIAL)
		atomic_fetch_add(&m->post->count[COUNT_FAILED], 1);
}

/* A proxy has UDP sockets where its clients are, for the first slots. */
static int
udp_of(const struct mapper *m, uint32_t i)
{
	const struct listener *l = m->post->listener + m->post->listeners;
	const union peer *peer = &m->own->slot[i].peer;

	/* What would send it datagrams is in front of a proxy. */
	if (side_match(&m->map->accept_proxy, peer))
		return -1;
	for (size_t k = 0; k < m->post->spares; k++)
		if (l[k].family == peer->any.sa_family && i-- == 0)
			return l[k].fd;
	return -1;
}

static void
ended(uint32_t i, int status)
{
	int udp = udp_of(&mapper, i);

	if (udp != -1)
		associate_rearm(udp);
	report(&mapper, mapper.own, i, mapper.killing ? 0 : status);
	free_slot(&mapper, i);
}

void
tcp_recall(void)
{
	mapper.table->recalled = true;
}

void
tcp_lost(uint32_t table, int status)
{
	struct table *t = &mapper.table[table];

	for (uint32_t i = 0; i < t->used; i++)
		if (t->pid[i]) {
			report(&mapper, t, i, status);
			accept_uncount(&mapper.gate);
			t->pid[i] = 0;
		}
	t->used = 0;
}

static struct call
call_of(const struct mapper *m, int client, uint32_t i)
{
	const struct slot *slot = &m->own->slot[i];

	return (struct call){
	    .map = m->map,
	    .client = client,
	    .udp = udp_of(m, i),
	    .index = slot->index,
	    .from = slot->peer,
	    .turn = m->turn,
	    .failed = m->table->failed,
	    .until = dial_until(m->map, slot->born),
	    .tally = &m->own->tally[i],
	};
}

static bool
may_have(const struct mapper *m, uint32_t i)
{
	uint32_t max = m->map->max.source;

	return !max ||
	    table_source(m->table, m->tables, &m->own->slot[i]) < max;
}

/*
 * Gives a client that was accepted a slot, and hands it to the mode. The slot
 * comes first, so that other workers count the client, too.
 */
static void
start(int client, uint16_t index, const union peer *peer)
{
	struct mapper *m = &mapper;
	uint32_t i = take_slot(m, index, peer);
	struct call call;

	if (!may_have(m, i)) {
		accept_refuse(&m->gate, client, peer,
		    "it has max-source= connections");
		free_slot(m, i);
		return;
	}
	call = call_of(m, client, i);
	m->turn++;
	atomic_fetch_add(&m->post->count[COUNT_BEGUN], 1);
	m->mode->begin(i, &call);
}

/* Closing a client here resets it: it inherited that from the listener. */
static void
begin_process(uint32_t i, struct call *call)
{
	struct mapper *m = &mapper;
	pid_t pid = fork_begin(call);

	close(call->client);
	m->own->pid[i] = pid;
	if (pid != -1)
		return;
	free_slot(m, i);
	accept_pause(&m->gate, "fork");
}

static void
process_event(uint64_t data, uint32_t events)
{
	(void)data;
	(void)events;
	fork_event();
}

static const struct mode processes = {begin_process, process_event, fork_due};

static const struct mode loop = {worker_begin, worker_event, worker_run};

/*
 * Connections only: the listeners are the server's to keep or to close. When
 * the crew has died, the count is its successor's, who began with none.
 */
static void
drain(struct mapper *m)
{
	static _Atomic uint32_t orphans;
	static _Atomic uint64_t count[COUNTS];
	static struct post post;

	if (m->worker && !m->table->recalled) {
		post = *m->post;
		post.count = count;
		m->post = &post;
		atomic_store(&orphans, m->gate.live);
		m->gate.count = &orphans;
	}
	accept_end(&m->gate);
	m->draining = true;
}

static void
kill_all(struct mapper *m)
{
	m->killing = true;
	for (uint32_t i = 0; i < m->own->used; i++)
		if (m->own->pid[i])
			kill(m->own->pid[i], SIGKILL);
}

void
tcp_table(int channel)
{
	const struct mapper *m = &mapper;

	for (const struct table *t = m->table; t < m->table + m->tables; t++)
		for (uint32_t i = 0; i < t->used; i++)
			if (t->pid[i])
				conn_show(m->map, &t->slot[i].peer,
				    t->slot[i].born, &t->tally[i]);
	send(channel, &(int){0}, sizeof(int), MSG_NOSIGNAL);
}

/* The server's word; the end of the channel is the end of the server. */
static void
obey(struct mapper *m)
{
	char order = ORDER_DRAIN;
	ssize_t n = recv(m->channel, &order, 1, MSG_DONTWAIT);

	if (n == -1)
		return;
	if (n == 0)
		epoll_ctl(m->epoll, EPOLL_CTL_DEL, m->channel, NULL);
	if (order == ORDER_TABLE)
		tcp_table(m->channel);
	else if (!m->draining)
		drain(m);
	if (order == ORDER_KILL)
		kill_all(m);
}

static deadline
sooner(deadline a, deadline b)
{
	return a < b ? a : b;
}

/*
 * Does what is due; returns for how long there is nothing to do, for
 * epoll_wait(2). The mode comes first: clients may wait for the end of one of
 * its connections.
 */
static int
prepare(struct mapper *m)
{
	deadline at = now(), next = m->mode->due(at);

	next = sooner(next, accept_due(&m->gate, at));
	return next == NEVER      ? -1
	    : next <= at          ? 0
	    : next - at > INT_MAX ? INT_MAX
				  : (int)(next - at);
}

/* Listeners come last: an order may have closed them. */
static void
turn(struct mapper *m)
{
	static struct epoll_event ev[EVENTS]; /* a fork copies the stack */
	int span = prepare(m), n;

	if (m->draining && !m->gate.live)
		return;
	n = epoll_wait(m->epoll, ev, EVENTS, span);
	for (int i = 0; i < n; i++) {
		if (ev[i].data.u64 == CHANNEL)
			obey(m);
		else if (ev[i].data.u64 >= MODE)
			m->mode->event(ev[i].data.u64 - MODE, ev[i].events);
	}
	for (int i = 0; i < n && !m->draining; i++)
		if (ev[i].data.u64 < MODE)
			accept_event(&m->gate, (uint32_t)ev[i].data.u64,
			    ev[i].events);
}

static int
open_events(struct mapper *m)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = CHANNEL};

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
tcp_equip(const struct post *post)
{
	uint32_t slots = post->map->max.conns, max = post->max_conns;
	struct mapper *m = &mapper;

	m->post = post;
	m->map = post->map;
	m->channel = post->channel;
	m->tables = m->map->workers ? m->map->workers : 1;
	m->free = NO_SLOT;
	slots = !slots || (max && max < slots) ? max : slots;
	m->table = m->own = table_open(m->map, m->tables, slots);
	m->gate.start = start;
	if (!m->table || accept_init(&m->gate, post, slots) == -1)
		return -1;
	if (m->map->workers)
		return worker_equip(m->map, slots);
	m->mode = &processes;
	if (open_events(m) == -1 ||
	    fork_init(post, m->epoll, MODE, m->own->pid, &m->own->used,
		ended) == -1 ||
	    accept_begin(&m->gate, m->epoll, false) == -1)
		return -1;
	return madvise(post->board, sizeof(*post->board), MADV_DONTFORK);
}

_Noreturn void
tcp_serve(void)
{
	while (!mapper.draining || mapper.gate.live)
		turn(&mapper);
	_exit(0);
}

_Noreturn void
tcp_work(uint32_t table, int channel)
{
	struct mapper *m = &mapper;

	m->mode = &loop;
	m->worker = getpid();
	m->own = &m->table[table];
	m->channel = channel;
	if (open_events(m) == -1 ||
	    accept_begin(&m->gate, m->epoll, true) == -1)
		_exit(1);
	worker_open(m->epoll, MODE, m->own->tally, ended);
	tcp_serve();
}
