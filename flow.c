/* The flows of a UDP mapper: found by key, kept by age. */

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "udp.h"

#define WORDS (sizeof(struct flow_key) / sizeof(uint64_t))

int
flow_table(struct flows *t, uint32_t cap)
{
	memset(t, 0, sizeof(*t));
	t->cap = cap;
	for (t->buckets = 64; t->buckets < cap; t->buckets *= 2)
		;
	t->flow = calloc(cap, sizeof(*t->flow));
	t->bucket = calloc(t->buckets, sizeof(struct flow *));
	if (!t->flow || !t->bucket)
		return -1;
	for (uint32_t i = cap; i-- > 0;) {
		t->flow[i].fd = -1;
		t->flow[i].chain = t->free;
		t->free = &t->flow[i];
	}
	return getrandom(&t->seed, sizeof(t->seed), 0) == -1 ? -1 : 0;
}

/* Seeded, since the clients choose what is hashed. */
static struct flow **
bucket_of(const struct flows *t, const struct flow_key *key)
{
	uint64_t word[WORDS], h = t->seed;

	memcpy(word, key, sizeof(word));
	for (size_t i = 0; i < WORDS; i++) {
		h = (h ^ word[i]) * 0x9e3779b97f4a7c15u;
		h ^= h >> 32;
	}
	return &t->bucket[h & (t->buckets - 1)];
}

/* Byte by byte: what an address does not use is zero. */
static bool
same(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size) == 0;
}

struct flow *
flow_find(const struct flows *t, const struct flow_key *key)
{
	struct flow *f = *bucket_of(t, key);

	while (f && !same(&f->key, key, sizeof(*key)))
		f = f->chain;
	return f;
}

uint32_t
flow_count_source(const struct flows *t, const union peer *peer)
{
	uint32_t n = 0;

	for (int list = FLOW_ONE_WAY; list <= FLOW_ANSWERED; list++)
		for (const struct flow *f = t->oldest[list]; f; f = f->newer) {
			union peer other = f->key.peer;

			other.six.sin6_port = peer->six.sin6_port;
			n += same(&other, peer, sizeof(other));
		}
	return n;
}

static void
unlist(struct flows *t, struct flow *f)
{
	if (f->older)
		f->older->newer = f->newer;
	else
		t->oldest[f->list] = f->newer;
	if (f->newer)
		f->newer->older = f->older;
	else
		t->newest[f->list] = f->older;
}

static void
enlist(struct flows *t, struct flow *f, enum flow_list list)
{
	f->list = list;
	f->newer = NULL;
	f->older = t->newest[list];
	if (f->older)
		f->older->newer = f;
	else
		t->oldest[list] = f;
	t->newest[list] = f;
}

void
flow_add(struct flows *t, struct flow *f)
{
	struct flow **bucket = bucket_of(t, &f->key);

	t->free = f->chain;
	f->chain = *bucket;
	*bucket = f;
	enlist(t, f, FLOW_ONE_WAY);
}

void
flow_touch(struct flows *t, struct flow *f, enum flow_list list, deadline at)
{
	f->seen = at;
	unlist(t, f);
	enlist(t, f, list);
}

void
flow_remove(struct flows *t, struct flow *f)
{
	struct flow **at = bucket_of(t, &f->key);

	while (*at != f)
		at = &(*at)->chain;
	*at = f->chain;
	unlist(t, f);
	f->fd = -1;
	f->chain = t->free;
	t->free = f;
}
