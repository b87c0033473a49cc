/* The flows of a UDP mapper: found by key, kept by age. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/addr.h"
#include "base/clock.h"
#include "udp/flow.h"

#define SAMPLE 16 /* flows of a source that are looked at for the oldest */

/* One that was never taken, or NULL: only what is used is ever touched. */
static struct flow *
alloc_flow(struct flows *t)
{
	struct flow *f = &t->items[t->used];

	if (t->used == t->cap)
		return NULL;
	t->used++;
	f->fd = -1;
	return f;
}

int
flow_init(struct flows *t, uint32_t cap)
{
	memset(t, 0, sizeof(*t));
	t->cap = cap;
	for (t->buckets = 64; t->buckets < cap; t->buckets *= 2)
		;
	t->items = calloc(cap, sizeof(*t->items));
	t->bucket = calloc(t->buckets, sizeof(struct flow *));
	t->source = calloc(cap, sizeof(*t->source));
	t->source_bucket = calloc(t->buckets, sizeof(struct source *));
	if (!t->items || !t->bucket || !t->source || !t->source_bucket)
		return -1;
	t->free = alloc_flow(t);
	return getrandom(&t->seed, sizeof(t->seed), 0) == -1 ? -1 : 0;
}

/* Seeded, since the clients choose what is hashed. */
static uint32_t
hash(const struct flows *t, const uint64_t *word, size_t words)
{
	uint64_t h = t->seed;

	for (size_t i = 0; i < words; i++) {
		h = (h ^ word[i]) * 0x9e3779b97f4a7c15u;
		h ^= h >> 32;
	}
	return (uint32_t)h & (t->buckets - 1);
}

static struct flow **
bucket_of(const struct flows *t, const struct flow_key *key)
{
	uint64_t word[sizeof(*key) / sizeof(uint64_t)];

	memcpy(word, key, sizeof(word));
	return &t->bucket[hash(t, word, sizeof(word) / sizeof(*word))];
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
		f = f->next_in_bucket;
	return f;
}

/* Where the source of that client is linked, or would be. */
static struct source **
find_source(const struct flows *t, const union sockaddr_inet *peer)
{
	uint64_t word[4] = {0};
	union sockaddr_inet key = *peer;
	struct source **at;

	key.v6.sin6_port = 0;
	memcpy(word, &key, sizeof(key));
	at = &t->source_bucket[hash(t, word, 4)];
	while (*at && !same(&(*at)->peer, &key, sizeof(key)))
		at = &(*at)->next_in_bucket;
	return at;
}

uint32_t
flow_count_source(const struct flows *t, const union sockaddr_inet *peer)
{
	const struct source *s = *find_source(t, peer);

	return s ? s->count : 0;
}

/* There are as many sources as flows. */
static struct source *
add_source(struct flows *t, struct source **at, const union sockaddr_inet *peer)
{
	struct source *s = t->free_source;

	if (s)
		t->free_source = s->next_in_bucket;
	else
		s = &t->source[t->used_sources++];
	*s = (struct source){.peer = *peer};
	s->peer.v6.sin6_port = 0;
	return *at = s;
}

/* Behind all others in the ring of its source. */
static void
join_source(struct flows *t, struct flow *f)
{
	struct source **at = find_source(t, &f->key.peer);
	struct source *s = *at ? *at : add_source(t, at, &f->key.peer);

	f->source = s;
	f->after = s->flow ? s->flow : f;
	f->before = s->flow ? s->flow->before : f;
	f->before->after = f->after->before = f;
	s->flow = f->after;
	s->count++;
	t->count++;
	/* Who comes to have more than half is the largest while it has. */
	if (!t->largest || s->count > t->largest->count)
		t->largest = s;
}

static void
leave_source(struct flows *t, struct flow *f)
{
	struct source *s = f->source, **at;

	f->before->after = f->after;
	f->after->before = f->before;
	if (s->flow == f)
		s->flow = f->after;
	t->count--;
	if (--s->count)
		return;
	if (t->largest == s)
		t->largest = NULL;
	at = find_source(t, &s->peer);
	*at = s->next_in_bucket;
	s->next_in_bucket = t->free_source;
	t->free_source = s;
}

static bool
is_less(const struct flow *a, const struct flow *b)
{
	return a->list < b->list ||
	    (a->list == b->list && a->last_used < b->last_used);
}

/*
 * The next time others are looked at. One flow is no surplus, however small the
 * table is.
 */
struct flow *
flow_surplus(struct flows *t, const union sockaddr_inet *peer)
{
	struct source *s = t->largest;
	struct flow *found = NULL;

	if (!s || s->count < 2 || s->count <= t->count / 2 ||
	    s == *find_source(t, peer))
		return NULL;
	for (uint32_t i = 0; i < SAMPLE && i < s->count; i++) {
		struct flow *f = s->flow;

		if (!f->batch_first && (!found || is_less(f, found)))
			found = f;
		s->flow = f->after;
	}
	return found;
}

static void
list_remove(struct flows *t, struct flow *f)
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
list_append(struct flows *t, struct flow *f, enum flow_list list)
{
	f->list = (uint8_t)list;
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

	t->free = f->next_in_bucket ? f->next_in_bucket : alloc_flow(t);
	f->next_in_bucket = *bucket;
	*bucket = f;
	list_append(t, f, FLOW_ONE_WAY);
	join_source(t, f);
}

void
flow_touch(struct flows *t, struct flow *f, enum flow_list list, msec at)
{
	f->last_used = at;
	list_remove(t, f);
	list_append(t, f, list);
}

void
flow_remove(struct flows *t, struct flow *f)
{
	struct flow **at = bucket_of(t, &f->key);

	while (*at != f)
		at = &(*at)->next_in_bucket;
	*at = f->next_in_bucket;
	list_remove(t, f);
	leave_source(t, f);
	f->fd = -1;
	f->next_in_bucket = t->free;
	t->free = f;
}
