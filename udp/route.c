/* Connects flows to targets, and moves them from targets that fail. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/sock.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "mapper/scoreboard.h"
#include "udp/account.h"
#include "udp/datagram.h"
#include "udp/flow.h"
#include "udp/route.h"
#include "udp/state.h"
#include "udp/target.h"

#define DOUBLINGS_MAX 10 /* of the time for a silent target */

static uint16_t
port_index_of(const struct udp_mapper *m, const struct flow *f)
{
	return m->args->listeners[f->key.listener].port_index;
}

uint8_t *
route_preferred(const struct udp_mapper *m, const struct flow *f)
{
	return &m->targets.preferred[port_index_of(m, f)];
}

bool
route_waits(const struct udp_mapper *m, uint32_t listener)
{
	return targets_wait(&m->targets,
	    m->args->listeners[listener].port_index, m->now);
}

bool
route_any_waits(const struct udp_mapper *m)
{
	for (uint32_t i = 0; i < m->args->n_listeners; i++)
		if (route_waits(m, i))
			return true;
	return false;
}

/* Returns the index of the flow's target address, or targets.count. */
static uint32_t
addr_of(const struct udp_mapper *m, const struct flow *f)
{
	return targets_find_address(&m->targets, &f->target,
	    port_index_of(m, f));
}

/* Returns the index of the target of an address, or n_targets. */
static uint32_t
target_of(const struct udp_mapper *m, uint32_t addr)
{
	return addr < m->targets.count ? m->targets.items[addr].target
				       : (uint32_t)m->map->n_targets;
}

void
route_close(struct udp_mapper *m, const struct flow *f)
{
	if (f->fd == -1)
		return;
	account_overflow(m, f->fd);
	close(f->fd);
}

int
route_connect(struct udp_mapper *m, struct flow *f, uint32_t addr)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct flow fresh = *f;

	fresh.group = false;
	fresh.fd = map_is_original(m->map)
	    ? targets_open_original(m->map, &f->key,
		  (uint16_t)(m->map->listen.port_first + port_index_of(m, f)),
		  &fresh.target)
	    : targets_open(&m->targets, addr, port_index_of(m, f),
		  &fresh.target, &fresh.group);
	if (fresh.fd == -1)
		return -1;
	fresh.headed = false;
	ev.data.u64 = (uint64_t)(f - m->flows.items);
	if (epoll_ctl(m->epoll, EPOLL_CTL_ADD, fresh.fd, &ev) == -1)
		return close_keep_errno(fresh.fd);
	route_close(m, f);
	*f = fresh;
	f->up_gso_max = m->map->no_offload ? 0 : GSO_MAX_ANY;
	return 0;
}

int
route_reconnect(struct udp_mapper *m, struct flow *f)
{
	uint32_t addr = addr_of(m, f);

	return route_connect(m, f,
	    addr < m->targets.count ? addr : *route_preferred(m, f));
}

/*
 * Moves a flow to the preferred address if its own does not exist any more,
 * else to the next one unless `keep`. Returns true if the flow has moved.
 */
static bool
leave_target(struct udp_mapper *m, struct flow *f, bool keep)
{
	const struct target_addrs *t = &m->targets;
	uint32_t addr;

	if (map_is_original(m->map))
		return false;
	targets_refresh(&m->targets, true, m->now);
	addr = addr_of(m, f);
	if (addr == t->count)
		return route_connect(m, f, *route_preferred(m, f)) == 0;
	return t->count > 1 && !keep &&
	    route_connect(m, f, (addr + 1) % t->count) == 0;
}

void
route_refused(struct udp_mapper *m, struct flow *f, bool lost)
{
	struct target_addrs *t = &m->targets;
	uint32_t addr = addr_of(m, f);

	account_refused(m, f, target_of(m, addr));
	account_add(m, COUNT_DROPPED + DROP_REFUSED, lost);
	if (addr == *route_preferred(m, f) && t->count > 1)
		*route_preferred(m, f) = (uint8_t)((addr + 1) % t->count);
	leave_target(m, f, f->list != FLOW_ONE_WAY);
}

/*
 * Returns true if the target has been silent for too long. After each round of
 * all targets the time doubles for the target where the round began.
 */
static bool
is_silent(const struct udp_mapper *m, const struct flow *f)
{
	const uint32_t n = m->targets.count;
	msec timeout = m->map->times.udp, silence = m->now - f->unanswered_at;
	uint32_t round;

	if (!timeout || !n || silence < timeout)
		return false;
	round = f->moves / n;
	if (f->moves % n == 0)
		timeout <<= round < DOUBLINGS_MAX ? round : DOUBLINGS_MAX;
	return silence >= timeout;
}

void
route_expect_answer(struct udp_mapper *m, struct flow *f)
{
	bool moved;

	if (f->unanswered_at && !is_silent(m, f))
		return;
	moved = f->unanswered_at && leave_target(m, f, false);
	if (moved && f->moves < UINT8_MAX)
		f->moves++;
	/* The next datagram looks at the addresses again. */
	if (!f->unanswered_at || moved || !m->targets.pending)
		f->unanswered_at = m->now;
}

void
route_answered(struct udp_mapper *m, struct flow *f)
{
	bool moved = f->moves > 0;
	uint32_t addr;

	f->unanswered_at = 0;
	if (!moved && f->list != FLOW_ONE_WAY &&
	    !m->args->state->targets.any_down)
		return;
	f->moves = 0;
	addr = addr_of(m, f);
	account_answered(m, f, target_of(m, addr));
	if (moved && addr < m->targets.count)
		*route_preferred(m, f) = (uint8_t)addr;
}
