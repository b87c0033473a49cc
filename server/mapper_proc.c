/* Starts mappers, sends them commands and keeps a record of each. */

/*
 * Theory of operation
 *
 * A mapper is forked from the server, inherits the listeners of its service and
 * never changes: for any change the server starts a new mapper and lets the old
 * one drain. The forked process runs mapper_main().
 *
 * The channel is a socket pair. The mapper replies 0 once it is ready, or an
 * errno; the server sends commands. When the server exits, the mapper reads the
 * end of the channel and drains.
 *
 * A mapper and its connections are one process group, so that the server can
 * kill the connections of a mapper that has exited, and continue stopped ones.
 *
 * Each mapper counts in its own page of the scoreboard. The limits of a map,
 * whose old mappers still drain, and of all maps are sums over the slots; the
 * server clears the slot of a mapper that has exited, however it exited.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/config.h"
#include "config/map.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "mapper/scoreboard.h"
#include "server/mapper_main.h"
#include "server/mapper_proc.h"
#include "server/service.h"

#define RESUME_MS 100 /* without a reply, until a mapper gets SIGCONT */

static struct mapper_proc *mappers;
static struct scoreboard *scoreboard;
static uint32_t max_conns; /* of all maps; 0: no limit */
static bool slot_used[MAPPERS_MAX];
static uint32_t n_services; /* that have had a mapper */

int
scoreboard_init(const struct config *conf)
{
	max_conns = conf->max_conns;
	scoreboard = scoreboard_create();
	return scoreboard ? 0 : -1;
}

struct mapper_proc *
mapper_list(void)
{
	return mappers;
}

/* Returns the limit for all connections of a map: max=, or --max-conns. */
static uint32_t
max_open(const struct service *s)
{
	uint32_t max = s->map->limits.conns;

	if (s->proto == PROTO_UDP)
		return 0;
	return max && (!max_conns || max < max_conns) ? max : max_conns;
}

/* Takes the lowest free slot, so that the sums of the limits stay short. */
static int
alloc_slot(struct service *s, size_t *slot)
{
	for (*slot = 0; *slot < MAPPERS_MAX && slot_used[*slot]; ++*slot)
		;
	if (*slot == MAPPERS_MAX) {
		errno = EAGAIN;
		return -1;
	}
	slot_used[*slot] = true;
	if (*slot >= scoreboard->used)
		scoreboard->used = (uint32_t)*slot + 1;
	if (!s->number)
		s->number = ++n_services;
	scoreboard->service[*slot] = s->number;
	scoreboard->max_open[*slot] = max_open(s);
	scoreboard->processes[*slot] = 1 + s->map->workers;
	return 0;
}

/* Returns -1 with errno; then the slot is free again. */
static int
fork_mapper(struct mapper_proc *m, const struct config *conf)
{
	int pair[2], saved;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0) {
		m->pid = map_inherit_secrets(m->service->map, true) == -1
		    ? -1
		    : fork();
		if (m->pid == 0)
			mapper_main(m->service, conf, scoreboard, m->slot,
			    pair[1]);
		saved = errno;
		map_inherit_secrets(m->service->map, false);
		m->channel = pair[0];
		close(pair[1]);
		if (m->pid > 0)
			return 0;
		close(pair[0]);
		errno = saved;
	}
	slot_used[m->slot] = false;
	return -1;
}

struct mapper_proc *
mapper_spawn(struct service *s, const struct config *conf)
{
	struct mapper_proc *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->service = s;
	m->listen_ns_id = s->listeners_ns;
	m->target_ns_id = s->target_ns_id;
	m->kill_at = NEVER;
	if (alloc_slot(s, &m->slot) == -1 || fork_mapper(m, conf) == -1) {
		free(m);
		return NULL;
	}
	/* The mapper does the same, because either process may run first. */
	setpgid(m->pid, m->pid);
	m->next = mappers;
	mappers = m;
	return m;
}

int
mapper_wait_reply(const struct mapper_proc *m, msec timeout)
{
	struct pollfd watched = {.fd = m->channel, .events = POLLIN};
	msec deadline = now_ms() + timeout, left = timeout;
	int error = ETIMEDOUT, n;

	/* A mapper that does not reply may have been stopped by a signal. */
	while ((n = poll(&watched, 1, (int)msec_min(left, RESUME_MS))) != 1) {
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
	if (command == CMD_KILL)
		kill(-m->pid, CHILD_KILL_SIGNAL);
}

void
mapper_drain(struct mapper_proc *m, msec timeout)
{
	if (!m->draining)
		mapper_send_command(m, CMD_DRAIN);
	m->draining = true;
	if (m->service && m->service->mapper == m)
		m->service->mapper = NULL;
	if (timeout >= 0 && m->kill_at == NEVER)
		m->kill_at = now_ms() + timeout + 1;
}

void
mapper_kill(const struct mapper_proc *m)
{
	kill(-m->pid, SIGKILL);
}

void
mapper_set_exited(struct mapper_proc *m)
{
	m->exited = true;
	scoreboard_counts(scoreboard, m->slot)->live = 0;
}

uint64_t
mapper_count(const struct mapper_proc *m, enum count counter)
{
	return scoreboard_counts(scoreboard, m->slot)->count[counter] +
	    (counter == COUNT_OPEN ? scoreboard_live(scoreboard, m->slot) : 0);
}

bool
mapper_full(const struct mapper_proc *m)
{
	const uint32_t max = scoreboard->max_open[m->slot];
	uint64_t of_map, of_all;

	if (!max)
		return false;
	scoreboard_sum(scoreboard, m->slot, &of_map, &of_all);
	return of_map >= max || (max_conns && of_all >= max_conns);
}

const struct mapper_state *
mapper_state(const struct mapper_proc *m)
{
	return &scoreboard_counts(scoreboard, m->slot)->state;
}

void
mapper_remove(struct mapper_proc *m)
{
	struct mapper_proc **at = &mappers;
	struct mapper_counts *counts = scoreboard_counts(scoreboard, m->slot);

	if (m->service && counts->state.error.at > m->service->past_error.at)
		m->service->past_error = counts->state.error;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	close(m->channel);
	for (int i = 0; i < COUNTS; i++) {
		if (m->service && i != COUNT_OPEN)
			m->service->past_counts[i] +=
			    mapper_count(m, (enum count)i);
		counts->count[i] = 0;
	}
	counts->live = 0;
	memset(&counts->state, 0, sizeof(counts->state));
	slot_used[m->slot] = false;
	free(m);
}
