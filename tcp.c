/* The mapper of a TCP map: accepts, admits, forks, reaps, logs. */

#include <arpa/inet.h>
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

#include "nsfwd.h"

#define REST_MS 100 /* after the machine ran out of something */
#define EVENTS  64
#define CLIENT  3 /* the client's descriptor in a connection */
#define NO_SLOT UINT32_MAX
#define SIGNALS UINT64_MAX /* in epoll's data; a listener's is its index */
#define CHANNEL (UINT64_MAX - 1)

/* One connection. The mapper's own: no connection can write here. */
struct slot {
	deadline born;
	struct sockaddr_in6 peer; /* or sockaddr_in, or the family alone */
	uint16_t index;           /* of the port in the map's range */
	uint32_t next;            /* the next free slot */
};

/*
 * slot[i], pid[i] and tally[i] are one connection: process table, limiter,
 * statistics and error report in one. A pid of 0 is a free slot. The pids lie
 * apart since a dead one is searched for among all.
 */
struct mapper {
	const struct post *post;
	const struct map *map;
	struct total *total; /* this mapper's own */
	struct slot *slot;
	pid_t *pid;
	struct tally *tally;  /* shared with the connections */
	uint32_t slots, used; /* slots from used on were never taken */
	uint32_t free, live;
	int signals, all, quiet; /* epoll: with and without the listeners */
	deadline rest;           /* until then the listeners are not watched */
	bool full;               /* nor until a connection ends */
	bool draining;
};

static void
die(const char *what)
{
	log_error("%s: %s", what, log_errno(errno));
	_exit(1);
}

static uint32_t
live_everywhere(const struct mapper *m)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < m->post->totals; i++)
		sum += atomic_load(&m->post->total[i].live);
	return sum;
}

static bool
same_source(const struct sockaddr_in6 *a, const struct sockaddr_in6 *b)
{
	const void *pa = a, *pb = b;
	const struct sockaddr_in *a4 = pa, *b4 = pb;

	if (a->sin6_family != b->sin6_family)
		return false;
	switch (a->sin6_family) {
	case AF_INET6:
		return memcmp(&a->sin6_addr, &b->sin6_addr, 16) == 0;
	case AF_INET:
		return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	default:
		return true;
	}
}

static uint32_t
count_source(const struct mapper *m, const struct sockaddr_in6 *peer)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->used; i++)
		if (m->pid[i] && same_source(&m->slot[i].peer, peer))
			n++;
	return n;
}

/* "web@10.0.0.2:80" of the target dialled last; an index is not trusted. */
static const char *
target_text(const struct mapper *m, const struct tally *t, unsigned index,
    char *buf)
{
	struct sockaddr_storage addr;
	char text[INET6_ADDRSTRLEN];
	const struct side *side;

	if (t->target >= m->map->targets)
		return "unknown";
	side = &m->map->target[t->target];
	if (side->lo == side->hi)
		index = 0;
	if (side->kind == SIDE_PATH || side->kind == SIDE_ABSTRACT)
		snprintf(buf, LOG_ADDR, "%s%s",
		    side->kind == SIDE_ABSTRACT ? "@" : "", side->text);
	else if (side->kind == SIDE_HOST)
		snprintf(buf, LOG_ADDR, "%s:%u", side->text, side->lo + index);
	else if (side->zone)
		snprintf(buf, LOG_ADDR, "%s%%%s/%u",
		    inet_ntop(AF_INET6, &side->addr, text, sizeof(text)),
		    side->zone, side->lo + index);
	else if (dial_address(&addr, side, index, AF_INET))
		return log_addr((struct sockaddr *)&addr, buf);
	else
		return "unknown";
	return buf;
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
	};
	enum end end = END_NONE;

	if (t->end >= END_NONE && t->end <= END_LOCAL)
		end = (enum end)t->end;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM &&
	    t->phase == PHASE_RESOLVE)
		snprintf(buf, size, "dial error=%s", log_errno(ETIMEDOUT));
	else if (WIFSIGNALED(status))
		snprintf(buf, size, "killed signal=%d", WTERMSIG(status));
	else if (t->error)
		snprintf(buf, size, "%s error=%s", names[end],
		    log_errno(t->error));
	else
		snprintf(buf, size, "%s", names[end]);
	return buf;
}

static void
log_connection(const struct mapper *m, uint32_t i, int status)
{
	const struct slot *slot = &m->slot[i];
	const struct tally *t = &m->tally[i];
	bool good = WIFEXITED(status) && t->end == END_CLOSED;
	char client[LOG_ADDR], target[LOG_ADDR], end[64];
	const void *peer = &slot->peer;

	log_line(good ? LOG_VERBOSE : LOG_NORMAL,
	    "connection map=%s client=%s target=%s up=%llu down=%llu ms=%lld "
	    "end=%s",
	    m->map->word, log_addr(peer, client),
	    target_text(m, t, slot->index, target), (unsigned long long)t->up,
	    (unsigned long long)t->down, (long long)(now() - slot->born),
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
	atomic_fetch_sub(&m->total->live, 1);
}

static void
ended(struct mapper *m, pid_t pid, int status)
{
	for (uint32_t i = 0; i < m->used; i++) {
		if (m->pid[i] != pid)
			continue;
		log_connection(m, i, status);
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

/* Nothing but the client stays open: it moves to CLIENT, the rest goes. */
static _Noreturn void
live(const struct mapper *m, int client, uint32_t i)
{
	struct tally *tally = &m->tally[i];
	int server;

	if (client != CLIENT)
		dup3(client, CLIENT, O_CLOEXEC);
	sandbox_close_from(CLIENT + 1);
	server = dial(m->map, m->slot[i].index, CLIENT, tally);
	if (server == -1) {
		tally->error = errno;
		tally->end = errno == ECONNABORTED ? END_CLIENT : END_DIAL;
		_exit(1);
	}
	_exit(relay(CLIENT, server, &m->map->times, tally) == 0 ? 0 : 1);
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
start(struct mapper *m, int client, uint16_t index,
    const struct sockaddr_in6 *peer)
{
	uint32_t i = take_slot(m);

	m->slot[i].peer = *peer;
	m->slot[i].index = index;
	m->slot[i].born = now();
	m->pid[i] = fork();
	if (m->pid[i] == 0)
		live(m, client, i);
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

static void
unmap_v4(struct sockaddr_in6 *peer)
{
	struct sockaddr_in in = {.sin_family = AF_INET};

	if (peer->sin6_family != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(&peer->sin6_addr))
		return;
	in.sin_port = peer->sin6_port;
	memcpy(&in.sin_addr, &peer->sin6_addr.s6_addr[12], 4);
	memset(peer, 0, sizeof(*peer));
	memcpy(peer, &in, sizeof(in));
}

static void
admit(struct mapper *m, const struct listener *listener)
{
	struct sockaddr_storage addr = {0};
	socklen_t length = sizeof(addr);
	struct sockaddr_in6 peer;
	char text[LOG_ADDR];
	int client;

	client = accept4(listener->fd, (struct sockaddr *)&addr, &length,
	    SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client == -1) {
		if (exhausted(errno))
			rest(m, "accept");
		atomic_fetch_sub(&m->total->live, 1);
		return;
	}
	memcpy(&peer, &addr, sizeof(peer));
	unmap_v4(&peer);
	if (m->map->max.source &&
	    count_source(m, &peer) >= m->map->max.source) {
		const void *p = &peer;

		log_limited(
		    "'%s': refused %s: it has max-source=%u connections",
		    m->map->word, log_addr(p, text), m->map->max.source);
		atomic_fetch_sub(&m->total->live, 1);
		close(client);
		return;
	}
	start(m, client, listener->index, &peer);
}

/*
 * Reserves a place under the limits. Counting oneself first makes the limit
 * over all mappers hold although they do not ask each other.
 */
static bool
reserve(struct mapper *m)
{
	uint32_t max = m->post->max_conns;

	atomic_fetch_add(&m->total->live, 1);
	if (m->live < m->slots && (!max || live_everywhere(m) <= max))
		return true;
	atomic_fetch_sub(&m->total->live, 1);
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
	if (!m->draining)
		drain(m);
	if (order == ORDER_KILL)
		kill_all(m);
}

static void
watch(int epoll, int fd, uint64_t data)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) == -1)
		die("epoll_ctl");
}

/* How long to wait, and whether the listeners are to be watched. */
static int
rest_left(const struct mapper *m, bool *resting)
{
	deadline left = m->rest ? m->rest - now() : 0;

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
static void
equip(struct mapper *m, const struct post *post)
{
	uint32_t conns = post->map->max.conns, max = post->max_conns;

	m->post = post;
	m->map = post->map;
	m->total = &post->total[post->own];
	m->slots = !conns || (max && max < conns) ? max : conns;
	m->slot = calloc(m->slots, sizeof(*m->slot));
	m->pid = calloc(m->slots, sizeof(*m->pid));
	m->tally = mmap(NULL, m->slots * sizeof(*m->tally),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!m->slot || !m->pid || m->tally == MAP_FAILED)
		die("tables");
	m->free = NO_SLOT;
}

/*
 * The totals are not for connections: what the limits rest on stays out of
 * their reach.
 */
static void
open_events(struct mapper *m, const struct post *post)
{
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	m->signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	m->all = epoll_create1(EPOLL_CLOEXEC);
	m->quiet = epoll_create1(EPOLL_CLOEXEC);
	if (m->signals == -1 || m->all == -1 || m->quiet == -1)
		die("epoll");
	watch(m->all, m->signals, SIGNALS);
	watch(m->quiet, m->signals, SIGNALS);
	watch(m->all, post->channel, CHANNEL);
	watch(m->quiet, post->channel, CHANNEL);
	for (size_t i = 0; i < post->listeners; i++)
		watch(m->all, post->listener[i].fd, i);
	if (madvise(post->total, post->totals * sizeof(*post->total),
		MADV_DONTFORK) == -1)
		die("madvise");
}

_Noreturn void
tcp_main(const struct post *post)
{
	struct mapper m = {0};

	equip(&m, post);
	open_events(&m, post);
	while (!m.draining || m.live)
		turn(&m);
	_exit(0);
}
