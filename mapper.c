/* A mapper as the server knows it, and how it is born. */

/*
 * Theory of operation
 *
 * A mapper is forked from the server, inherits the listeners of its map,
 * enters the destination namespace for good, and never changes: whatever has
 * to change is a new mapper, and the old one drains. The channel between the
 * two says "it stands" once, upwards, then carries orders downwards; its end
 * tells a mapper that the server is gone.
 *
 * A mapper and its connections are a process group: whatever becomes of the
 * mapper, the server can end them, also those that somebody has stopped.
 *
 * Each mapper has a slot of the board, where it counts. Limits over all
 * mappers, or over those of one map, of which the old ones drain, are sums over
 * the board: a mapper that dies takes its share with it.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server.h"

#define SILENCE_MS 100 /* of a mapper that is to answer */

static struct child *first;
static struct board *board;
static bool taken[MAPPERS_MAX]; /* slots of the board */
static uint32_t services;       /* that have had a mapper */

int
mapper_open(void)
{
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return board == MAP_FAILED ? -1 : 0;
}

struct child *
mapper_first(void)
{
	return first;
}

/* What else the server holds ends here. */
static int
keep_own(const struct listeners *set, int channel)
{
	size_t count = set->count + set->spares;
	int *keep = calloc(count + 1, sizeof(*keep));

	if (!keep)
		return -1;
	for (size_t i = 0; i < count; i++)
		keep[i] = set->listener[i].fd;
	keep[count] = channel;
	sandbox_close_others(keep, count + 1);
	free(keep);
	return 0;
}

static unsigned
role_of(const struct service *s)
{
	const struct map *map = s->map;
	unsigned role = s->proto == PROTO_UDP ? SANDBOX_UDP : SANDBOX_TCP;

	for (size_t i = 0; i < map->targets + map->hops; i++) {
		const struct side *side = i < map->targets
		    ? &map->target[i]
		    : &map->hop[i - map->targets].side;

		if (side->kind == SIDE_HOST || side->kind == SIDE_PROXY)
			role |= SANDBOX_NAMES | SANDBOX_PARSES;
		if (side->kind == SIDE_PATH || side->kind == SIDE_ABSTRACT ||
		    side->zone)
			role |= SANDBOX_UNIX;
	}
	if (map->hops || map->accept_proxy.count)
		role |= SANDBOX_PARSES;
	if (map->src.kind == SIDE_INET || map->src.kind == SIDE_INET6)
		role |= SANDBOX_BIND;
	return role;
}

/* Its own words for what is no fault of the namespace: ECANCELED. */
static int
deny(const struct service *s, const char *what, const char *advice)
{
	log_error("'%s': cannot %s: %s%s", s->map->word, what, log_errno(errno),
	    advice);
	errno = ECANCELED;
	return -1;
}

/* With the fewest rights that let it be a mapper; they are gone before. */
static int
become(const struct service *s, const struct conf *conf,
    const struct post *post)
{
	const struct map *map = s->map;

	title_set("map", " ", map->word);
	log_leave(); /* its number is another descriptor's soon */
	if (ns_enter(&map->to) == -1 || keep_own(&s->set, post->channel) == -1)
		return -1;
	if (role_of(s) & SANDBOX_NAMES && ns_etc(&map->to) == -1)
		return deny(s, "use the files of /etc/netns", "");
	if (sandbox_drop(&conf->cred, map->mark) == -1)
		return deny(s, "drop privileges",
		    errno == EPERM ? " (--user takes root)" : " (see --user)");
	if ((s->proto == PROTO_UDP ? udp_equip(post)
		    : map->workers ? crew_equip(post)
				   : tcp_equip(post)) == -1)
		return -1;
	if (post->role && sandbox_confine(post->role) == -1)
		return deny(s, "filter system calls",
		    " (--no-sandbox does without)");
	return 0;
}

/*
 * A process group of its own is not that of the terminal: a log line there must
 * not stop it.
 */
static void
leave_group(void)
{
	sigset_t tty;

	setpgid(0, 0);
	sigemptyset(&tty);
	sigaddset(&tty, SIGTTOU);
	sigprocmask(SIG_BLOCK, &tty, NULL);
}

/* The whole life of a mapper: only when it can serve does it say so. */
static _Noreturn void
live(const struct service *s, const struct conf *conf, size_t slot, int channel)
{
	const struct post post = {
	    .map = s->map,
	    .listener = s->set.listener,
	    .listeners = s->set.count,
	    .spares = s->set.spares,
	    .channel = channel,
	    .board = board,
	    .own = slot,
	    .count = board->count[slot],
	    .max_conns = conf->max_conns,
	    .role = conf->unconfined ? 0 : role_of(s),
	};
	int error;

	leave_group();
	error = become(s, conf, &post) == -1 ? errno : 0;
	if (send(channel, &error, sizeof(error), MSG_NOSIGNAL) == -1 || error)
		_exit(1);
	if (s->proto == PROTO_UDP)
		udp_serve();
	if (s->map->workers)
		crew_serve();
	tcp_serve();
}

/* The lowest that is free, so that the sums stay short. */
static size_t
free_slot(void)
{
	size_t slot = 0;

	while (slot < MAPPERS_MAX && taken[slot])
		slot++;
	return slot;
}

struct child *
mapper_birth(struct service *s, const struct conf *conf)
{
	struct child *m = calloc(1, sizeof(*m));
	int pair[2] = {-1, -1};

	if (!m)
		return NULL;
	m->service = s;
	m->from = s->opened;
	m->to = s->to;
	m->until = NEVER;
	m->slot = free_slot();
	errno = EAGAIN;
	if (m->slot == MAPPERS_MAX ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		goto failed;
	if (m->slot >= board->used)
		board->used = (uint32_t)m->slot + 1;
	if (!s->number)
		s->number = ++services;
	board->service[m->slot] = s->number;
	m->pid = fork();
	if (m->pid == 0)
		live(s, conf, m->slot, pair[1]);
	close(pair[1]);
	m->channel = pair[0];
	if (m->pid > 0) {
		setpgid(m->pid, m->pid); /* who is first */
		taken[m->slot] = true;
		m->next = first;
		first = m;
		return m;
	}
	close(pair[0]);
failed:
	free(m);
	return NULL;
}

int
mapper_hear(const struct child *m, deadline span)
{
	struct pollfd watched = {.fd = m->channel, .events = POLLIN};
	deadline until = now() + span, left = span;
	int error = ETIMEDOUT, n;

	/* Whoever is silent may have been stopped. */
	while ((n = poll(&watched, 1,
		    (int)(left < SILENCE_MS ? left : SILENCE_MS))) != 1) {
		left = until - now();
		if (left <= 0)
			break;
		kill(-m->pid, SIGCONT);
	}
	if (n == 1 &&
	    recv(m->channel, &error, sizeof(error), 0) != sizeof(error))
		error = ECONNRESET;
	errno = error;
	return error ? -1 : 0;
}

void
mapper_order(const struct child *m, enum order what)
{
	const char byte = (char)what;

	kill(-m->pid, SIGCONT);
	send(m->channel, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
mapper_kill(const struct child *m)
{
	kill(-m->pid, SIGKILL);
}

void
mapper_orphan(struct child *m)
{
	m->ended = true;
	board->live[m->slot] = 0;
}

uint64_t
mapper_count(const struct child *m, enum count what)
{
	return board->count[m->slot][what] +
	    (what == COUNT_OPEN ? board->live[m->slot] : 0);
}

void
mapper_bury(struct child *m)
{
	struct child **at = &first;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	close(m->channel);
	for (int i = 0; i < COUNTS; i++) {
		if (m->service && i != COUNT_OPEN)
			m->service->past[i] += mapper_count(m, (enum count)i);
		board->count[m->slot][i] = 0;
	}
	board->live[m->slot] = 0;
	taken[m->slot] = false;
	free(m);
}
