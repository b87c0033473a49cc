/* The mapper of a TCP map: accepts, admits, forks, reaps, logs. */

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mapper.h"

#define REST_MS 100 /* after the machine ran out of something */
#define FALL    5   /* connections of a chain that end in a millisecond */
#define EVENTS  32
#define FEW     64 /* children; later by a millisecond for each so many */
#define NO_SLOT UINT32_MAX
#define SIGNALS UINT64_MAX /* in epoll's data; a listener's is its index */
#define CHANNEL (UINT64_MAX - 1)
#define WORK    ((uint64_t)1 << 32) /* and more is the worker's */

/*
 * Without workers there is one table. Of several each has its own, and sees
 * those of the others: what a client address has is counted over all, and what
 * became of the connections of one that died is said by its crew.
 */
struct mapper {
	const struct post *post;
	const struct map *map;
	_Atomic uint32_t *count; /* its connections, as the others see them */
	struct table *table, *own;
	uint32_t tables, slots; /* at most so many of the map */
	uint32_t free, live;
	pid_t worker; /* what it is; 0: a mapper without workers */
	int channel, signals, epoll;
	uint32_t turn; /* connections so far */
	int last; /* the highest descriptor of these, and of the listeners */
	deadline sweep; /* when to look for the dead of whom nobody told */
	deadline rest;  /* until then no listener is watched */
	bool minds;     /* they are watched */
	bool draining, killing;
};

static struct mapper mapper;

static uint32_t
live_everywhere(const struct mapper *m)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < m->post->board->used; i++)
		sum += atomic_load(&m->post->board->live[i]);
	return sum;
}

static uint32_t
take_slot(struct mapper *m)
{
	uint32_t i = m->free;

	if (i == NO_SLOT)
		i = m->own->used++;
	else
		m->free = m->own->slot[i].next;
	m->live++;
	atomic_fetch_add(&m->post->count[COUNT_BEGUN], 1);
	memset(&m->own->tally[i], 0, sizeof(*m->own->tally));
	return i;
}

/* Never below none, which a successor of a dead crew began with. */
static void
uncount(_Atomic uint32_t *count)
{
	uint32_t n = atomic_load(count);

	while (n && !atomic_compare_exchange_weak(count, &n, n - 1))
		;
}

/*
 * One that ends makes room for the next. Not at once: of a map that is its own
 * target the chain would grow behind as fast as it falls apart in front.
 */
static void
rest_less(struct mapper *m)
{
	uint32_t span = 1 + m->slots / FALL;
	deadline soon = now() + (span < REST_MS ? span : REST_MS);

	if (m->rest > soon)
		m->rest = soon;
}

static void
free_slot(struct mapper *m, uint32_t i)
{
	m->own->pid[i] = 0;
	m->own->slot[i].next = m->free;
	m->free = i;
	m->live--;
	if (m->rest)
		rest_less(m);
	uncount(m->count);
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

static void
bury(struct mapper *m, uint32_t i, int status)
{
	report(m, m->own, i, m->killing ? 0 : status);
	free_slot(m, i);
}

/* A worker is done with one of its connections. */
static void
release(uint32_t i)
{
	bury(&mapper, i, 0);
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
			uncount(mapper.count);
			t->pid[i] = 0;
		}
	t->used = 0;
}

/*
 * Asks for a connection that SIGCHLD told of. One that somebody has stopped goes
 * on: nobody but its mapper says when it is to end.
 */
static bool
ask(struct mapper *m, uint32_t i)
{
	pid_t pid = m->own->pid[i];
	int status;

	if (waitpid(pid, &status, WNOHANG | WUNTRACED) <= 0)
		return false;
	if (WIFSTOPPED(status))
		kill(pid, SIGCONT);
	else
		bury(m, i, status);
	return true;
}

/* There may be more dead than SIGCHLD told of. */
static void
sweep(struct mapper *m)
{
	for (uint32_t i = 0; i < m->own->used; i++)
		if (m->own->pid[i])
			ask(m, i);
	m->sweep = 0;
}

/*
 * It costs less to ask for one child than for any, for whom waitpid(2) looks at
 * all of them: where there are thousands that is left for later.
 */
static void
reap(struct mapper *m)
{
	struct signalfd_siginfo info;

	if (read(m->signals, &info, sizeof(info)) == -1)
		return;
	for (uint32_t i = 0; i < m->own->used; i++)
		if (m->own->pid[i] == (pid_t)info.ssi_pid && ask(m, i))
			break;
	if (!m->sweep && m->live)
		m->sweep = now() + 1 + m->live / FEW;
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

static void
rest(struct mapper *m, const char *what)
{
	m->rest = now() + REST_MS;
	log_limited("'%s': %s: %s: accepting rests", m->map->word, what,
	    log_errno(errno));
}

/* Closing a client here resets it: it inherited that from the listener. */
static void
start(struct mapper *m, int client, uint16_t index, const union peer *peer)
{
	struct table *own = m->own;
	uint32_t i = take_slot(m);
	char text[LOG_ADDR];
	struct call call;
	pid_t pid;

	own->slot[i].peer = *peer;
	own->slot[i].index = index;
	own->slot[i].born = now();
	call = call_of(m, client, i);
	m->turn++;
	if (m->worker) {
		own->pid[i] = m->worker;
		worker_begin(i, &call);
		return;
	}
	pid = fork();
	if (pid == 0) {
		title_set(log_addr(&peer->any, text), " > ", m->map->word);
		conn_live(&call, m->last, m->post->role);
	}
	own->pid[i] = pid;
	if (pid == -1) {
		int error = errno;

		free_slot(m, i);
		errno = error;
		rest(m, "fork");
	}
	close(client);
}

/*
 * True if the machine ran out of something, accept(2): the rest are errors of
 * the one connection that was to be accepted, which is gone.
 */
static bool
exhausted(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS ||
	    err == ENOMEM;
}

static bool
may_come(const struct mapper *m, const union peer *peer)
{
	uint32_t max = m->map->max.source;
	bool allowed = side_admits(m->map, peer);
	char text[LOG_ADDR];

	if (allowed && (!max || table_source(m->table, m->tables, peer) < max))
		return true;
	log_limited("'%s': refused %s: it %s", m->map->word,
	    log_addr(&peer->any, text),
	    allowed ? "has max-source= connections" : "is not allowed");
	return false;
}

static void
admit(struct mapper *m, const struct listener *listener)
{
	struct sockaddr_storage addr = {0};
	socklen_t length = sizeof(addr);
	union peer peer;
	int client;

	client = accept4(listener->fd, (struct sockaddr *)&addr, &length,
	    SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client == -1) {
		if (exhausted(errno))
			rest(m, "accept");
		atomic_fetch_sub(m->count, 1);
		return;
	}
	peer = side_peer(&addr);
	if (may_come(m, &peer)) {
		start(m, client, listener->index, &peer);
		return;
	}
	atomic_fetch_add(&m->post->count[COUNT_REFUSED], 1);
	atomic_fetch_sub(m->count, 1);
	close(client);
}

/*
 * Reserves a place under the limits. Counting oneself first makes the limit
 * over all mappers hold although they do not ask each other.
 */
static bool
reserve(struct mapper *m)
{
	uint32_t max = m->post->max_conns;

	atomic_fetch_add(m->count, 1);
	if (m->live < m->slots && atomic_load(m->count) <= m->slots &&
	    (!max || live_everywhere(m) <= max))
		return true;
	atomic_fetch_sub(m->count, 1);
	m->rest =
	    m->live == m->slots || m->live == max ? NEVER : now() + REST_MS;
	log_limited("'%s': %u connections, the limit: new clients wait",
	    m->map->word, atomic_load(m->count));
	return false;
}

/*
 * Each worker watches for itself; a client wakes one of those that sleep. A
 * closed listener would stay in the epoll as long as anybody has it.
 */
static int
mind(struct mapper *m, bool on)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int error = 0;

	if (m->minds == on)
		return 0;
	m->minds = on;
	if (m->worker)
		ev.events |= EPOLLEXCLUSIVE;
	for (size_t i = 0; i < m->post->listeners; i++) {
		ev.data.u64 = i;
		if (epoll_ctl(m->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
			m->post->listener[i].fd, &ev) == -1 &&
		    on)
			error = errno;
	}
	if (!error)
		return 0;
	mind(m, false);
	errno = error;
	return -1;
}

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
		atomic_store(&orphans, m->live);
		m->count = &orphans;
	}
	mind(m, false);
	for (size_t i = 0; i < m->post->listeners; i++)
		close(m->post->listener[i].fd);
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

static int
watch(const struct mapper *m, int fd, uint64_t data)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};

	return epoll_ctl(m->epoll, EPOLL_CTL_ADD, fd, &ev);
}

/* The shorter of two spans for epoll_wait(2), of which -1 is the longest. */
static int
sooner(deadline span, int other)
{
	if (span > INT_MAX)
		span = INT_MAX;
	return other == -1 || span < other ? (int)span : other;
}

/*
 * How long to wait; the listeners are watched, or are not, from now on. What is
 * due comes first: it may be the end of a connection for which clients wait.
 */
static int
prepare(struct mapper *m)
{
	int span = m->worker ? worker_run() : -1;
	deadline at = now();

	if (m->sweep && m->sweep <= at)
		sweep(m);
	if (m->draining || m->rest <= at)
		m->rest = 0;
	if (mind(m, !m->draining && !m->rest) == -1)
		rest(m, "epoll_ctl");
	if (m->rest)
		span = sooner(m->rest - at, span);
	return m->sweep ? sooner(m->sweep - at, span) : span;
}

/* Signals and orders first: they may close what the other events are about. */
static void
turn(struct mapper *m)
{
	static struct epoll_event ev[EVENTS]; /* a fork copies the stack */
	int span = prepare(m), n;

	if (m->draining && !m->live)
		return;
	n = epoll_wait(m->epoll, ev, EVENTS, span);
	for (int i = 0; i < n; i++) {
		if (ev[i].data.u64 == SIGNALS)
			reap(m);
		else if (ev[i].data.u64 == CHANNEL)
			obey(m);
	}
	for (int i = 0; i < n; i++)
		if (ev[i].data.u64 >= WORK && ev[i].data.u64 < CHANNEL)
			worker_event(ev[i].data.u64 - WORK, ev[i].events);
	for (int i = 0; i < n && !m->draining; i++) {
		if (ev[i].data.u64 >= WORK)
			continue;
		if (m->rest || !reserve(m))
			break;
		admit(m, &m->post->listener[ev[i].data.u64]);
	}
}

static int
open_events(struct mapper *m)
{
	m->epoll = epoll_create1(EPOLL_CLOEXEC);
	return m->epoll == -1 ? -1 : watch(m, m->channel, CHANNEL);
}

static int
open_signals(struct mapper *m)
{
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	m->signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signals == -1 || watch(m, m->signals, SIGNALS) == -1)
		return -1;
	m->last = m->signals > m->channel ? m->signals : m->channel;
	for (size_t i = 0; i < m->post->listeners + m->post->spares; i++)
		if (m->post->listener[i].fd > m->last)
			m->last = m->post->listener[i].fd;
	return mind(m, true);
}

/*
 * The counts are not for connections: what the limits rest on stays out of
 * their reach.
 */
int
tcp_equip(const struct post *post)
{
	uint32_t conns = post->map->max.conns, max = post->max_conns;
	struct mapper *m = &mapper;

	m->post = post;
	m->map = post->map;
	m->count = &post->board->live[post->own];
	m->channel = post->channel;
	m->tables = m->map->workers ? m->map->workers : 1;
	m->slots = !conns || (max && max < conns) ? max : conns;
	m->free = NO_SLOT;
	m->table = m->own = table_open(m->map, m->tables, m->slots);
	if (!m->table)
		return -1;
	if (m->map->workers)
		return worker_equip(m->map, m->slots);
	if (open_events(m) == -1 || open_signals(m) == -1)
		return -1;
	return madvise(post->board, sizeof(*post->board), MADV_DONTFORK);
}

_Noreturn void
tcp_serve(void)
{
	while (!mapper.draining || mapper.live)
		turn(&mapper);
	_exit(0);
}

_Noreturn void
tcp_work(uint32_t table, int channel)
{
	struct mapper *m = &mapper;

	m->worker = getpid();
	m->own = &m->table[table];
	m->channel = channel;
	if (open_events(m) == -1 || mind(m, true) == -1)
		_exit(1);
	worker_open(m->epoll, WORK, m->own->tally, release);
	tcp_serve();
}
