/* The tables of the connections of a map, and who is in them. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/addr.h"
#include "base/report.h"
#include "config/map.h"
#include "tcp/table.h"

#define PATIENCE 10000 /* looks at a slot that has no ticket yet */

/* As for all of a UNIX listener: they are one source. */
static bool
same_host(const union sockaddr_inet *a, const union sockaddr_inet *b)
{
	return a->sa.sa_family == b->sa.sa_family &&
	    a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr &&
	    memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, 16) == 0;
}

/*
 * A slot that was taken gets its ticket at once. If it does not, its process has
 * lost the processor, or its life: it counts.
 */
static bool
is_before(const struct slot *slot, uint64_t ticket)
{
	uint64_t other = atomic_load(&slot->ticket);

	for (int i = 0; !other && i < PATIENCE; i++)
		other = atomic_load(&slot->ticket);
	return other < ticket;
}

uint32_t
table_count_source(struct table *table, uint32_t tables, struct slot *slot)
{
	uint64_t ticket = atomic_fetch_add(&table->tickets, 1) + 1;
	uint32_t n = 0;

	atomic_store(&slot->ticket, ticket);
	for (const struct table *t = table; t < table + tables; t++)
		for (uint32_t i = 0; i < t->used; i++)
			if (t->pids[i] &&
			    same_host(&t->slots[i].peer, &slot->peer) &&
			    is_before(&t->slots[i], ticket))
				n++;
	return n;
}

/*
 * All tables at once and for good; untouched pages cost nothing. What is not
 * shared is not for connections, nor is its weight.
 */
static void *
map_memory(void *hint, size_t n, size_t size, int kind)
{
	void *p = mmap(hint, n * size, PROT_READ | PROT_WRITE,
	    kind | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED ||
	    (kind == MAP_PRIVATE && madvise(p, n * size, MADV_DONTFORK) == -1))
		return NULL;
	return p;
}

/*
 * Right behind the program's data a connection has page tables anyway: if there
 * is room its tally needs none of its own.
 */
static void *
behind_data(void)
{
	extern char end[]; /* end(3) */

	return (void *)(((uintptr_t)end + 4095) & ~(uintptr_t)4095);
}

struct table *
table_init(const struct map *map, uint32_t tables, uint32_t capacity)
{
	int kind = map->workers ? MAP_SHARED : MAP_PRIVATE;
	struct table *table = map_memory(NULL, tables, sizeof(*table), kind);

	for (uint32_t i = 0; table && i < tables; i++) {
		struct table *t = &table[i];

		t->slots = map_memory(NULL, capacity, sizeof(*t->slots), kind);
		t->pids = map_memory(NULL, capacity, sizeof(*t->pids), kind);
		t->reports = map_memory(behind_data(), capacity,
		    sizeof(*t->reports), MAP_SHARED);
		if (!t->slots || !t->pids || !t->reports)
			return NULL;
	}
	if (!table || map->n_targets == 1)
		return table;
	table->failed = map_memory(NULL, map->n_targets, sizeof(*table->failed),
	    MAP_SHARED);
	return table->failed ? table : NULL;
}
