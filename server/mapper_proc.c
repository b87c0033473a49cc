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
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proctitle.h"
#include "base/sandbox.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "netns.h"
#include "server/mapper_proc.h"
#include "server/service.h"
#include "tcp/fork.h"
#include "tcp/pool.h"
#include "udp/udp.h"

#define SILENCE_MS 100 /* of a mapper that is to answer */

static struct mapper_proc *mappers;
static struct scoreboard *scoreboard;
static bool slot_used[MAPPERS_MAX]; /* slots of the board */
static uint32_t services;           /* that have had a mapper */

int
scoreboard_init(void)
{
	scoreboard = mmap(NULL, sizeof(*scoreboard), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return scoreboard == MAP_FAILED ? -1 : 0;
}

struct mapper_proc *
mapper_list(void)
{
	return mappers;
}

/* What else the server holds ends here. */
static int
close_server_fds(const struct listeners *set, int channel)
{
	size_t count = set->count + set->n_udp_relays;
	int *keep = calloc(count + 1, sizeof(*keep));

	if (!keep)
		return -1;
	for (size_t i = 0; i < count; i++)
		keep[i] = set->items[i].fd;
	keep[count] = channel;
	fd_close_except(keep, count + 1);
	free(keep);
	return 0;
}

static unsigned
sandbox_flags_of(const struct service *s)
{
	const struct map *map = s->map;
	unsigned role = s->proto == PROTO_UDP ? SANDBOX_UDP : SANDBOX_TCP;

	for (size_t i = 0; i < map->n_targets + map->n_hops; i++) {
		const struct endpoint *ep = i < map->n_targets
		    ? &map->targets[i]
		    : &map->hops[i - map->n_targets].side;

		if (ep->kind == EP_HOST || ep->kind == EP_PROXY)
			role |= SANDBOX_NAMES | SANDBOX_MAY_NARROW;
		if (ep->kind == EP_UNIX_PATH || ep->kind == EP_UNIX_ABSTRACT ||
		    ep->zone)
			role |= SANDBOX_UNIX;
	}
	if (map->n_hops || map->accept_proxy.count)
		role |= SANDBOX_MAY_NARROW;
	if (map->src.kind == EP_IPV4 || map->src.kind == EP_IPV6)
		role |= SANDBOX_BIND;
	return role;
}

/* Its own words for what is no fault of the namespace: ECANCELED. */
static int
setup_failed(const struct service *s, const char *what, const char *advice)
{
	log_error("'%s': cannot %s: %s%s", s->map->spec, what,
	    errno_name(errno), advice);
	errno = ECANCELED;
	return -1;
}

/* With the fewest rights that let it be a mapper; they are gone before. */
static int
mapper_setup(const struct service *s, const struct config *conf,
    const struct mapper_args *args)
{
	const struct map *map = s->map;

	proctitle_set("map", " ", map->spec);
	log_close_stderr(); /* its number is another descriptor's soon */
	if (ns_enter(&map->target_ns) == -1 ||
	    close_server_fds(&s->listeners, args->channel) == -1)
		return -1;
	if (sandbox_flags_of(s) & SANDBOX_NAMES &&
	    ns_mount_etc(&map->target_ns) == -1)
		return setup_failed(s, "use the files of /etc/netns", "");
	if (sandbox_drop_privileges(&conf->owner_cred, map->mark) == -1)
		return setup_failed(s, "drop privileges",
		    errno == EPERM ? " (--user takes root)" : " (see --user)");
	if ((s->proto == PROTO_UDP ? udp_init(args)
		    : map->workers ? pool_init(args)
				   : fork_init(args)) == -1)
		return -1;
	if (args->role && sandbox_seccomp(args->role) == -1)
		return setup_failed(s, "filter system calls",
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
mapper_main(const struct service *s, const struct config *conf, size_t slot,
    int channel)
{
	const struct mapper_args args = {
	    .map = s->map,
	    .listeners = s->listeners.items,
	    .n_listeners = s->listeners.count,
	    .n_udp_relays = s->listeners.n_udp_relays,
	    .channel = channel,
	    .scoreboard = scoreboard,
	    .slot = slot,
	    .count = scoreboard->count[slot],
	    .max_conns = conf->max_conns,
	    .role = conf->no_sandbox ? 0 : sandbox_flags_of(s),
	};
	int error;

	leave_group();
	error = mapper_setup(s, conf, &args) == -1 ? errno : 0;
	if (send(channel, &error, sizeof(error), MSG_NOSIGNAL) == -1 || error)
		_exit(1);
	if (s->proto == PROTO_UDP)
		udp_run();
	if (s->map->workers)
		pool_run();
	fork_run();
}

/* The lowest that is free, so that the sums stay short. */
static size_t
free_slot(void)
{
	size_t slot = 0;

	while (slot < MAPPERS_MAX && slot_used[slot])
		slot++;
	return slot;
}

struct mapper_proc *
mapper_spawn(struct service *s, const struct config *conf)
{
	struct mapper_proc *m = calloc(1, sizeof(*m));
	int pair[2] = {-1, -1};

	if (!m)
		return NULL;
	m->service = s;
	m->listen_ns_id = s->listeners_ns;
	m->target_ns_id = s->target_ns_id;
	m->kill_at = NEVER;
	m->slot = free_slot();
	errno = EAGAIN;
	if (m->slot == MAPPERS_MAX ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		goto failed;
	if (m->slot >= scoreboard->used)
		scoreboard->used = (uint32_t)m->slot + 1;
	if (!s->number)
		s->number = ++services;
	scoreboard->service[m->slot] = s->number;
	m->pid = fork();
	if (m->pid == 0)
		mapper_main(s, conf, m->slot, pair[1]);
	close(pair[1]);
	m->channel = pair[0];
	if (m->pid > 0) {
		setpgid(m->pid, m->pid); /* who is first */
		slot_used[m->slot] = true;
		m->next = mappers;
		mappers = m;
		return m;
	}
	close(pair[0]);
failed:
	free(m);
	return NULL;
}

int
mapper_wait_reply(const struct mapper_proc *m, msec timeout)
{
	struct pollfd watched = {.fd = m->channel, .events = POLLIN};
	msec deadline = now_ms() + timeout, left = timeout;
	int error = ETIMEDOUT, n;

	/* Whoever is silent may have been stopped. */
	while ((n = poll(&watched, 1,
		    (int)(left < SILENCE_MS ? left : SILENCE_MS))) != 1) {
		left = deadline - now_ms();
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
mapper_send_command(const struct mapper_proc *m, enum mapper_command command)
{
	const char byte = (char)command;

	kill(-m->pid, SIGCONT);
	send(m->channel, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
mapper_kill(const struct mapper_proc *m)
{
	kill(-m->pid, SIGKILL);
}

void
mapper_keep_orphans(struct mapper_proc *m)
{
	m->exited = true;
	scoreboard->live[m->slot] = 0;
}

uint64_t
mapper_count(const struct mapper_proc *m, enum count counter)
{
	return scoreboard->count[m->slot][counter] +
	    (counter == COUNT_OPEN ? scoreboard->live[m->slot] : 0);
}

void
mapper_remove(struct mapper_proc *m)
{
	struct mapper_proc **at = &mappers;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	close(m->channel);
	for (int i = 0; i < COUNTS; i++) {
		if (m->service && i != COUNT_OPEN)
			m->service->past_counts[i] +=
			    mapper_count(m, (enum count)i);
		scoreboard->count[m->slot][i] = 0;
	}
	scoreboard->live[m->slot] = 0;
	slot_used[m->slot] = false;
	free(m);
}
