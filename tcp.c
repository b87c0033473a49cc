/* The mapper of a TCP map: accepts, admits, forks, reaps, logs. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hop.h"
#include "mapper.h"

#define REST_MS 100 /* after the machine ran out of something */
#define EVENTS  64
#define CLIENT  3 /* the client's descriptor in a connection */
#define NO_SLOT UINT32_MAX
#define SIGNALS UINT64_MAX /* in epoll's data; a listener's is its index */
#define CHANNEL (UINT64_MAX - 1)

/* One connection. The mapper's own: no connection can write here. */
struct slot {
	deadline born;
	union peer peer; /* v4-mapped ones as v4 */
	uint16_t index;  /* of the port in the map's range */
	uint32_t next;   /* the next free slot */
};

/*
 * slot[i], pid[i] and tally[i] are one connection: process table, limiter,
 * statistics and error report in one. A pid of 0 is a free slot. The pids lie
 * apart since a dead one is searched for among all.
 */
struct mapper {
	const struct post *post;
	const struct map *map;
	_Atomic uint32_t *count; /* its connections, as the others see them */
	struct slot *slot;
	pid_t *pid;
	struct tally *tally; /* shared with the connections, as is failed */
	_Atomic deadline *failed; /* when each target last did; orders them */
	uint32_t turn;            /* connections so far */
	uint32_t slots, used;     /* slots from used on were never taken */
	uint32_t free, live;
	int signals, all, quiet; /* epoll: with and without the listeners */
	int last; /* the highest descriptor of these, and of the listeners */
	deadline rest; /* until then the listeners are not watched */
	bool full;     /* nor until a connection ends */
	bool draining;
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

/* As for all of a UNIX listener: they are one source. */
static bool
same_source(const union peer *a, const union peer *b)
{
	return a->any.sa_family == b->any.sa_family &&
	    a->four.sin_addr.s_addr == b->four.sin_addr.s_addr &&
	    memcmp(&a->six.sin6_addr, &b->six.sin6_addr, 16) == 0;
}

static uint32_t
count_source(const struct mapper *m, const union peer *peer)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->used; i++)
		if (m->pid[i] && same_source(&m->slot[i].peer, peer))
			n++;
	return n;
}

/*
 * What the connection says of it: an untrusted address, or what a proxy's
 * client asked for, of which nothing may pass for another word of the line;
 * or the user's word.
 */
static const char *
target_text(const struct mapper *m, struct tally *t, char *buf)
{
	int family = t->peer.any.sa_family;

	t->asked[HOP_NAME_MAX - 1] = '\0';
	for (char *s = t->asked; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("-._:[]", *s))
			*s = '?';
	if (t->asked[0])
		return t->asked;
	if (family == AF_INET || family == AF_INET6)
		return log_addr(&t->peer.any, buf);
	if (t->target < m->map->targets)
		return m->map->target[t->target].word;
	return "unknown";
}

/* "end=refused error=..." for the line of a connection. */
static const char *
end_text(const struct tally *t, int status, char *buf, size_t size)
{
	static const char *const names[] = {
	    [END_NONE] = "killed",
	    [END_CLOSED] = "closed",
	    [END_DIAL] = "dial",
	    [END_CLIENT] = "client-reset",
	    [END_TARGET] = "target-reset",
	    [END_IDLE] = "idle",
	    [END_LOCAL] = "local",
	    [END_HANDSHAKE] = "handshake",
	};
	enum end end = END_NONE;

	if (t->end >= END_NONE && t->end <= END_HANDSHAKE)
		end = (enum end)t->end;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM && t->resolving)
		snprintf(buf, size, "dial error=%s", log_errno(ETIMEDOUT));
	else if (WIFSIGNALED(status))
		snprintf(buf, size, "killed signal=%d", WTERMSIG(status));
	else if (t->code)
		snprintf(buf, size, "%s error=%s hop=%d", names[end],
		    log_errno(t->error), t->code);
	else if (t->error)
		snprintf(buf, size, "%s error=%s", names[end],
		    log_errno(t->error));
	else
		snprintf(buf, size, "%s", names[end]);
	return buf;
}

/* Who it is by a PROXY header, and who said so; both, as the line has them. */
#define CLIENT_TEXT (2 * LOG_ADDR + 5)

static const char *
client_text(const struct slot *slot, const struct tally *t, char *buf)
{
	char client[LOG_ADDR], via[LOG_ADDR];

	if (t->client.any.sa_family != AF_INET &&
	    t->client.any.sa_family != AF_INET6)
		return log_addr(&slot->peer.any, buf);
	snprintf(buf, CLIENT_TEXT, "%s via=%s",
	    log_addr(&t->client.any, client), log_addr(&slot->peer.any, via));
	return buf;
}

static void
log_connection(const struct mapper *m, const struct slot *slot, struct tally *t,
    int status)
{
	bool good = WIFEXITED(status) && t->end == END_CLOSED;
	char client[CLIENT_TEXT], target[LOG_ADDR], end[64];

	log_line(good ? LOG_VERBOSE : LOG_NORMAL,
	    "connection from=%s to=%s map=%s client=%s target=%s up=%llu "
	    "down=%llu ms=%lld end=%s",
	    ns_word(&m->map->from), ns_word(&m->map->to), m->map->word,
	    client_text(slot, t, client), target_text(m, t, target),
	    (unsigned long long)t->up, (unsigned long long)t->down,
	    (long long)(now() - slot->born),
	    end_text(t, status, end, sizeof(end)));
}

static uint32_t
take_slot(struct mapper *m)
{
	uint32_t i = m->free;

	if (i == NO_SLOT)
		i = m->used++;
	else
		m->free = m->slot[i].next;
	m->live++;
	atomic_fetch_add(&m->post->count[COUNT_BEGUN], 1);
	memset(&m->tally[i], 0, sizeof(m->tally[i]));
	return i;
}

static void
free_slot(struct mapper *m, uint32_t i)
{
	m->pid[i] = 0;
	m->slot[i].next = m->free;
	m->free = i;
	m->live--;
	m->full = false;
	atomic_fetch_sub(m->count, 1);
}

/* The tally is read once: other connections could write it while we do. */
static void
ended(struct mapper *m, pid_t pid, int status)
{
	struct tally tally;

	for (uint32_t i = 0; i < m->used; i++) {
		if (m->pid[i] != pid)
			continue;
		memcpy(&tally, &m->tally[i], sizeof(tally));
		atomic_signal_fence(memory_order_seq_cst);
		log_connection(m, &m->slot[i], &tally, status);
		atomic_fetch_add(&m->post->count[COUNT_UP], tally.up);
		atomic_fetch_add(&m->post->count[COUNT_DOWN], tally.down);
		if (tally.end == END_DIAL)
			atomic_fetch_add(&m->post->count[COUNT_FAILED], 1);
		free_slot(m, i);
		return;
	}
}

static void
reap(struct mapper *m)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	if (read(m->signals, &info, sizeof(info)) == -1)
		return;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		ended(m, pid, status);
}

/* A proxy has UDP sockets where its clients are, for the first slots. */
static int
udp_of(const struct mapper *m, uint32_t i)
{
	const struct listener *l = m->post->listener + m->post->listeners;
	const union peer *peer = &m->slot[i].peer;

	/* What would send it datagrams is in front of a proxy. */
	if (side_match(&m->map->accept_proxy, peer))
		return -1;
	for (size_t k = 0; k < m->post->spares; k++)
		if (l[k].family == peer->any.sa_family && i-- == 0)
			return l[k].fd;
	return -1;
}

/* Nothing but the client, and that socket, stays open: behind one another. */
static void
take_over(const struct mapper *m, int client, struct call *call)
{
	int last = client > m->last ? client : m->last;

	if (call->udp == CLIENT)
		call->udp = dup3(CLIENT, ++last, O_CLOEXEC);
	if (client != CLIENT)
		dup3(client, CLIENT, O_CLOEXEC);
	if (call->udp != -1 && call->udp != CLIENT + 1)
		dup3(call->udp, CLIENT + 1, O_CLOEXEC);
	call->udp = call->udp == -1 ? -1 : CLIENT + 1;
	sandbox_close_from(CLIENT + 1 + (call->udp != -1), last);
}

/* A proxy in front, if it is one of ours, says first who the client is. */
static int
learn(struct call *call)
{
	const struct line line = {CLIENT, -1, call->until};
	union peer from = {0};
	struct sockaddr_storage addr = {0};
	socklen_t length = sizeof(addr);

	if (getsockname(CLIENT, (struct sockaddr *)&addr, &length) == 0)
		call->to = side_peer(&addr);
	if (!side_match(&call->map->accept_proxy, &call->from))
		return 0;
	if (header_read(&line, &from, &call->to) == -1) {
		call->tally->end = END_HANDSHAKE;
		return -1;
	}
	if (from.any.sa_family)
		call->from = call->tally->client = from;
	return 0;
}

/* Who has read words of strangers does nothing more but relay. */
static int
confine(const struct mapper *m)
{
	sandbox_shrink();
	return m->post->role & SANDBOX_PARSES ? sandbox_confine(SANDBOX_RELAY)
					      : 0;
}

static _Noreturn void
live(const struct mapper *m, int client, uint32_t i)
{
	struct tally *tally = &m->tally[i];
	struct call call = {
	    .map = m->map,
	    .client = CLIENT,
	    .udp = udp_of(m, i),
	    .index = m->slot[i].index,
	    .from = m->slot[i].peer,
	    .turn = m->turn,
	    .failed = m->failed,
	    .until = dial_until(m->map, m->slot[i].born),
	    .tally = tally,
	};
	int server = -1;

	take_over(m, client, &call);
	if (learn(&call) == 0)
		server = m->map->target->kind == SIDE_PROXY ? proxy(&call)
							    : dial(&call);
	if (server != -1 && confine(m) == 0)
		_exit(relay(CLIENT, server, &m->map->times, tally) != 0);
	tally->error = errno;
	if (server != -1)
		tally->end = END_LOCAL;
	else if (tally->error == ECONNABORTED)
		tally->end = END_CLIENT;
	else if (!tally->end)
		tally->end = END_DIAL;
	_exit(tally->end != END_CLOSED);
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
	uint32_t i = take_slot(m);
	char text[LOG_ADDR];

	m->slot[i].peer = *peer;
	m->slot[i].index = index;
	m->slot[i].born = now();
	m->pid[i] = fork();
	if (m->pid[i] == 0) {
		title_set(log_addr(&peer->any, text), " > ", m->map->word);
		live(m, client, i);
	}
	m->turn++;
	if (m->pid[i] == -1) {
		rest(m, "fork");
		free_slot(m, i);
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

	if (allowed && (!max || count_source(m, peer) < max))
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
	if (m->live < m->slots && (!max || live_everywhere(m) <= max))
		return true;
	atomic_fetch_sub(m->count, 1);
	m->full = m->live == m->slots || m->live == max;
	m->rest = now() + REST_MS;
	log_limited("'%s': %u connections, the limit: new clients wait",
	    m->map->word, m->live);
	return false;
}

/* Connections only: the listeners are the server's to keep or to close. */
static void
drain(struct mapper *m)
{
	for (size_t i = 0; i < m->post->listeners; i++)
		close(m->post->listener[i].fd);
	close(m->all);
	m->draining = true;
}

static void
kill_all(const struct mapper *m)
{
	for (uint32_t i = 0; i < m->used; i++)
		if (m->pid[i])
			kill(m->pid[i], SIGKILL);
}

static void
log_table(const struct mapper *m)
{
	char client[LOG_ADDR], target[LOG_ADDR];

	for (uint32_t i = 0; i < m->used; i++)
		if (m->pid[i])
			log_row(log_addr(&m->slot[i].peer.any, client),
			    target_text(m, &m->tally[i], target),
			    m->tally[i].up, m->tally[i].down, m->slot[i].born);
	send(m->post->channel, &(int){0}, sizeof(int), MSG_NOSIGNAL);
}

/* The server's word; the end of the channel is the end of the server. */
static void
obey(struct mapper *m)
{
	char order = ORDER_DRAIN;
	ssize_t n = recv(m->post->channel, &order, 1, MSG_DONTWAIT);

	if (n == -1)
		return;
	if (n == 0)
		epoll_ctl(m->quiet, EPOLL_CTL_DEL, m->post->channel, NULL);
	if (order == ORDER_TABLE)
		log_table(m);
	else if (!m->draining)
		drain(m);
	if (order == ORDER_KILL)
		kill_all(m);
}

static int
watch(int epoll, int fd, uint64_t data)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
}

/* How long to wait, and whether the listeners are to be watched. */
static int
rest_left(struct mapper *m, bool *resting)
{
	deadline left = m->rest ? m->rest - now() : 0;

	if (left <= 0)
		m->rest = 0;
	*resting = m->draining || m->full || left > 0;
	return m->draining || m->full || left <= 0 ? -1 : (int)left;
}

/* Signals and orders first: they may close what the other events are about. */
static void
turn(struct mapper *m)
{
	struct epoll_event ev[EVENTS];
	bool resting;
	int span = rest_left(m, &resting);
	int n = epoll_wait(resting ? m->quiet : m->all, ev, EVENTS, span);

	for (int i = 0; i < n; i++) {
		if (ev[i].data.u64 == SIGNALS)
			reap(m);
		else if (ev[i].data.u64 == CHANNEL)
			obey(m);
	}
	for (int i = 0; i < n && !m->draining; i++) {
		if (ev[i].data.u64 >= CHANNEL)
			continue;
		if (m->full || !reserve(m))
			break;
		admit(m, &m->post->listener[ev[i].data.u64]);
	}
}

/* All tables at once and for good; untouched pages cost nothing. */
static int
make_tables(struct mapper *m, const struct post *post)
{
	uint32_t conns = post->map->max.conns, max = post->max_conns;

	m->post = post;
	m->map = post->map;
	m->count = &post->board->live[post->own];
	m->slots = !conns || (max && max < conns) ? max : conns;
	m->slot = calloc(m->slots, sizeof(*m->slot));
	m->pid = calloc(m->slots, sizeof(*m->pid));
	m->tally = mmap(NULL, m->slots * sizeof(*m->tally),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	m->failed = mmap(NULL, m->map->targets * sizeof(*m->failed),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	m->free = NO_SLOT;
	return !m->slot || !m->pid || m->tally == MAP_FAILED ||
		m->failed == MAP_FAILED
	    ? -1
	    : 0;
}

static int
open_events(struct mapper *m, const struct post *post)
{
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	m->signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	m->all = epoll_create1(EPOLL_CLOEXEC);
	m->quiet = epoll_create1(EPOLL_CLOEXEC);
	if (m->signals == -1 || m->all == -1 || m->quiet == -1 ||
	    watch(m->all, m->signals, SIGNALS) == -1 ||
	    watch(m->quiet, m->signals, SIGNALS) == -1 ||
	    watch(m->all, post->channel, CHANNEL) == -1 ||
	    watch(m->quiet, post->channel, CHANNEL) == -1)
		return -1;
	m->last = m->quiet > post->channel ? m->quiet : post->channel;
	for (size_t i = 0; i < post->listeners + post->spares; i++) {
		if (i < post->listeners &&
		    watch(m->all, post->listener[i].fd, i) == -1)
			return -1;
		if (post->listener[i].fd > m->last)
			m->last = post->listener[i].fd;
	}
	return 0;
}

/*
 * The counts are not for connections: what the limits rest on stays out of
 * their reach.
 */
int
tcp_equip(const struct post *post)
{
	if (make_tables(&mapper, post) == -1 ||
	    open_events(&mapper, post) == -1)
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
