/* Attacks on memory that processes share. */

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/report.h"
#include "config/map.h"
#include "dial/balance.h"
#include "dial/conn.h"
#include "dial/resolve.h"
#include "dns/query.h"
#include "mapper/mapper.h"
#include "mapper/scoreboard.h"
#include "tcp/table.h"

#include "tests/evil/evil.h"

/* Returns whether this process can write at an address, without a signal. */
static long
can_write(volatile const void *at)
{
	return result(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, at));
}

static long
do_scoreboard_used(void)
{
	return can_write(used_count);
}

static long
do_scoreboard_other(void)
{
	return can_write(other_counts);
}

/* Claims as many connections as the number can hold: the map is full. */
static long
do_scoreboard_own(void)
{
	if (can_write(args->count) < 0)
		return -EFAULT;
	*args->live = UINT32_MAX;
	return 1;
}

/* Returns the index of a table that this process does not take slots of. */
static int
other_table(void)
{
	return tables->count > 1 && own_table == 0;
}

static long
do_slots(void)
{
	return tables ? can_write(tables->items[other_table()].slots) : -ENOENT;
}

static long
do_pids(void)
{
	return tables ? can_write(tables->items[other_table()].pids) : -ENOENT;
}

static long
do_reports(void)
{
	return tables ? can_write(&tables->items[other_table()].reports[4])
		      : -ENOENT;
}

/* A report without a NUL, of the wrong type, with numbers out of range. */
static long
do_report(void)
{
	if (!victim)
		return -ENOENT;
	memset(victim->report, 0xff, sizeof(*victim->report));
	return 1;
}

/* Forges failures of targets while other processes read them. */
static long
do_failures(void)
{
	struct timespec now = {0}, end;

	if (!victim || !victim->failures)
		return -ENOENT;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += (end.tv_nsec += 100000000) / 1000000000;
	end.tv_nsec %= 1000000000;
	while (now.tv_sec < end.tv_sec ||
	    (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec)) {
		for (size_t i = 0; i < victim->map->n_targets; i++) {
			memset(&victim->failures->items[i], (int)now.tv_nsec,
			    sizeof(victim->failures->items[i]));
			victim->failures->items[i].at =
			    i % 2 ? INT64_MAX : now.tv_nsec;
		}
		victim->failures->count++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	}
	return 1;
}

static long
do_mmap(void)
{
	return result(syscall(SYS_mmap, NULL, 1 << 20, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

static long
do_mprotect(void)
{
	return result(syscall(SYS_mprotect, args->scoreboard,
	    (size_t)getpagesize(), PROT_READ | PROT_WRITE));
}

/* The counters of another mapper, which this one may read. */
static long
do_mprotect_other(void)
{
	const long size = getpagesize();
	long n = result(
	    syscall(SYS_mprotect, (uintptr_t)other_counts & (uintptr_t)-size,
		size, PROT_READ | PROT_WRITE));

	return n < 0 ? n : can_write(other_counts);
}

/* Which servers of names were silent, for all processes of the map. */
static long
do_silent(void)
{
	const struct dns_source *source = resolver_source();

	if (!source || !source->silent)
		return -ENOENT;
	if (can_write(source->silent) < 0)
		return -EFAULT;
	for (size_t i = 0; i < DNS_SERVERS_MAX; i++)
		source->silent[i] = i % 2 ? INT64_MAX : INT64_MIN;
	return 1;
}

/* Overwrites the memory that all workers of a pool write. */
static long
do_shared(void)
{
	if (!tables)
		return -ENOENT;
	if (can_write(tables->shared) < 0)
		return -EFAULT;
	tables->shared->tickets = UINT64_MAX - 1;
	for (size_t i = 0; i < tables->count; i++)
		tables->shared->used[i] = UINT32_MAX;
	return 1;
}

/* A connection that is none, in the last slot of this worker. */
static long
do_table(void)
{
	const struct table *t = tables ? &tables->items[own_table] : NULL;
	const uint32_t last = tables ? tables->capacity - 1 : 0;

	if (!t)
		return -ENOENT;
	if (can_write(&t->slots[last]) < 0)
		return -EFAULT;
	memset(&t->slots[last], 0xff, sizeof(*t->slots));
	memset(&t->reports[last], 0xff, sizeof(*t->reports));
	t->pids[last] = -1;
	*t->shared_used = UINT32_MAX;
	return 1;
}

static long
do_mremap(void)
{
	return result(
	    syscall(SYS_mremap, args->count, 0, 1 << 20, MREMAP_MAYMOVE, NULL));
}

/* clang-format off */
const struct attack memory_attacks[] = {
	ATTACK(scoreboard_used), ATTACK(scoreboard_other),
	ATTACK(slots), ATTACK(pids), ATTACK(reports),
	ATTACK(report), ATTACK(failures), ATTACK(mmap), ATTACK(mprotect),
	ATTACK(mprotect_other), ATTACK(silent), ATTACK(shared), ATTACK(table),
	ATTACK(mremap),
	ATTACK(scoreboard_own),
	{0},
};
/* clang-format on */
