/* Keeps the tables of the connections of a TCP map. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#include "tcp/table.h"

#include "base/addr.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/report.h"
#include "config/map.h"
#include "dial/balance.h"

#define NO_SLOT          UINT32_MAX
#define TICKET_READS_MAX 10000 /* reads of a slot until it has a ticket */

/*
 * Returns where to map the reports: after the data of the program, where a
 * connection has page tables anyway, so that its report needs none of its own.
 */
static void *
after_data(void)
{
	extern char end[]; /* end(3) */

	return (void *)(((uintptr_t)end + 4095) & ~(uintptr_t)4095);
}

static int
table_init(struct table *t, uint32_t capacity)
{
	t->slots = memory_map(NULL, capacity, sizeof(*t->slots), MAP_SHARED);
	t->pids = memory_map(NULL, capacity, sizeof(*t->pids), MAP_SHARED);
	t->reports =
	    memory_map(after_data(), capacity, sizeof(*t->reports), MAP_SHARED);
	table_reset(t);
	return t->slots && t->pids && t->reports ? 0 : -1;
}

static size_t
shared_size(uint32_t n)
{
	return sizeof(struct tables_shared) + n * sizeof(uint32_t);
}

static struct tables *
tables_alloc(uint32_t n)
{
	struct tables *tables = memory_map(NULL, 1,
	    sizeof(struct tables) + n * sizeof(struct table), MAP_PRIVATE);

	if (tables)
		tables->shared =
		    memory_map(NULL, 1, shared_size(n), MAP_SHARED);
	return tables && tables->shared ? tables : NULL;
}

struct tables *
tables_init(const struct map *map, uint32_t n, uint32_t capacity)
{
	struct tables *tables = tables_alloc(n);

	if (!tables)
		return NULL;
	tables->count = n;
	tables->capacity = capacity;
	for (uint32_t i = 0; i < n; i++) {
		tables->items[i].shared_used = &tables->shared->used[i];
		if (table_init(&tables->items[i], capacity) == -1)
			return NULL;
	}
	if (map->n_targets == 1)
		return tables;
	tables->failures = memory_map(NULL, 1,
	    sizeof(*tables->failures) +
		balance_failures_size(map) * sizeof(*tables->failures->items),
	    MAP_SHARED);
	return tables->failures ? tables : NULL;
}

uint32_t
tables_used(const struct tables *tables, const struct table *t)
{
	const uint32_t used = *t->shared_used;

	return used < tables->capacity ? used : tables->capacity;
}

int
tables_confine(const struct tables *tables, const struct table *own)
{
	const size_t n = tables->capacity;

	for (const struct table *t = tables->items;
	     t < tables->items + tables->count; t++)
		if (t != own &&
		    (mprotect(t->slots, n * sizeof(*t->slots), PROT_READ) ==
			    -1 ||
			mprotect(t->pids, n * sizeof(*t->pids), PROT_READ) ==
			    -1 ||
			mprotect(t->reports, n * sizeof(*t->reports),
			    PROT_NONE) == -1))
			return -1;
	return 0;
}

int
tables_hide(struct tables *tables)
{
	const struct table *t = tables->items;
	size_t n = tables->capacity;

	if (madvise(t->slots, n * sizeof(*t->slots), MADV_DONTFORK) == -1 ||
	    madvise(t->pids, n * sizeof(*t->pids), MADV_DONTFORK) == -1 ||
	    madvise(tables->shared, shared_size(1), MADV_DONTFORK) == -1)
		return -1;
	return madvise(tables, sizeof(*tables) + sizeof(*t), MADV_DONTFORK);
}

/* Sets how many slots were ever taken. */
static void
table_set_used(struct table *t, uint32_t used)
{
	t->used = used;
	*t->shared_used = used;
}

void
table_reset(struct table *t)
{
	table_set_used(t, 0);
	t->first_free = NO_SLOT;
}

uint32_t
table_take(struct table *t, pid_t pid, uint16_t port_index,
    const union sockaddr_inet *peer)
{
	uint32_t i = t->first_free;
	struct slot *slot;

	if (i == NO_SLOT)
		table_set_used(t, (i = t->used) + 1);
	else
		t->first_free = t->slots[i].next_free;
	slot = &t->slots[i];
	slot->peer = *peer;
	slot->port_index = port_index;
	slot->started_at = now_ms();
	atomic_store(&slot->ticket, 0);
	memset(&t->reports[i], 0, sizeof(t->reports[i]));
	/* Sets the pid last, because a worker that sees it reads the slot. */
	atomic_thread_fence(memory_order_release);
	t->pids[i] = pid;
	return i;
}

struct conn_report
table_report(const struct table *t, uint32_t i)
{
	struct conn_report report;

	memcpy(&report, &t->reports[i], sizeof(report));
	atomic_signal_fence(memory_order_seq_cst);
	return report;
}

void
table_release(struct table *t, uint32_t i)
{
	t->pids[i] = 0;
	t->slots[i].next_free = t->first_free;
	t->first_free = i;
}

/*
 * Returns true if two clients count as one source. All clients of a UNIX
 * listener are one source.
 */
static bool
same_source(const union sockaddr_inet *a, const union sockaddr_inet *b)
{
	return a->sa.sa_family == b->sa.sa_family &&
	    a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr &&
	    memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, 16) == 0;
}

/*
 * Returns true if the slot's ticket is lower than `ticket`, or still unknown
 * after TICKET_READS_MAX reads. A process that takes a slot gives it a ticket
 * at once, unless the process is preempted or killed.
 */
static bool
is_before(const struct slot *slot, uint64_t ticket)
{
	uint64_t other = atomic_load(&slot->ticket);

	for (int i = 0; !other && i < TICKET_READS_MAX; i++)
		other = atomic_load(&slot->ticket);
	return other < ticket;
}

static uint32_t
count_before(const struct table *t, uint32_t used, const struct slot *slot,
    uint64_t ticket)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < used; i++)
		n += t->pids[i] &&
		    same_source(&t->slots[i].peer, &slot->peer) &&
		    is_before(&t->slots[i], ticket);
	return n;
}

uint32_t
tables_count_source(struct tables *tables, struct slot *slot)
{
	uint64_t ticket = atomic_fetch_add(&tables->shared->tickets, 1) + 1;
	uint32_t n = 0;

	atomic_store(&slot->ticket, ticket);
	for (uint32_t i = 0; i < tables->count; i++)
		n += count_before(&tables->items[i],
		    tables_used(tables, &tables->items[i]), slot, ticket);
	return n;
}
