/* The table of flows: finds them by key and keeps them by age. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/addr.h"
#include "base/clock.h"
#include "udp/flow.h"

#define SAMPLE 16 /* flows of a source that flow_surplus() compares */

/*
 * Returns a flow that was never used, or NULL. Takes memory page by page,
 * because flow_init() does not link the free flows.
 */
static struct flow *
next_unused_flow(struct flows *t)
{
	struct flow *f = &t->items[t->n_touched];

	if (t->n_touched == t->cap)
		return NULL;
	t->n_touched++;
	f->fd = -1;
	return f;
}

int
flow_init(struct flows *t, uint32_t cap)
{
	memset(t, 0, sizeof(*t));
	t->cap = cap;
	for (t->n_buckets = 64; t->n_buckets < cap; t->n_buckets *= 2)
		;
	t->items = calloc(cap, sizeof(*t->items));
	t->buckets = calloc(t->n_buckets, sizeof(struct flow *));
	t->sources = calloc(cap, sizeof(*t->sources));
	t->source_buckets = calloc(t->n_buckets, sizeof(struct source *));
	if (!t->items || !t->buckets || !t->sources || !t->source_buckets)
		return -1;
	t->free = next_unused_flow(t);
	return getrandom(&t->seed, sizeof(t->seed), 0) == -1 ? -1 : 0;
}

/* Uses a secret seed, because clients choose the addresses that are hashed. */
static uint32_t
hash_words(const struct flows *t, const uint64_t *word, size_t n_words)
{
	uint64_t h = t->seed;

	for (size_t i = 0; i < n_words; i++) {
		h = (h ^ word[i]) * 0x9e3779b97f4a7c15u;
		h ^= h >> 32;
	}
	return (uint32_t)h & (t->n_buckets - 1);
}

static struct flow **
bucket_of(const struct flows *t, const struct flow_key *key)
{
	uint64_t word[sizeof(*key) / sizeof(uint64_t)];

	memcpy(word, key, sizeof(word));
	return &t->buckets[hash_words(t, word, sizeof(word) / sizeof(*word))];
}

/* Compares all bytes, because unused bytes of an address are 0. */
static bool
bytes_equal(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size) == 0;
}

struct flow *
flow_find(const struct flows *t, const struct flow_key *key)
{
	struct flow *f = *bucket_of(t, key);

	while (f && !bytes_equal(&f->key, key, sizeof(*key)))
		f = f->next_in_bucket;
	return f;
}

/* Returns the link that leads, or is to lead, to the source of a client. */
static struct source **
find_source(const struct flows *t, const union sockaddr_inet *peer)
{
	uint64_t word[4] = {0};
	union sockaddr_inet key = *peer;
	struct source **at;

	key.v6.sin6_port = 0;
	memcpy(word, &key, sizeof(key));
	at = &t->source_buckets[hash_words(t, word, 4)];
	while (*at && !bytes_equal(&(*at)->peer, &key, sizeof(key)))
		at = &(*at)->next_in_bucket;
	return at;
}

uint32_t
flow_count_source(const struct flows *t, const union sockaddr_inet *peer)
{
	const struct source *s = *find_source(t, peer);

	return s ? s->n_flows : 0;
}

/* Always finds an unused source, because there are as many sources as flows. */
static struct source *
add_source(struct flows *t, struct source **at, const union sockaddr_inet *peer)
{
	struct source *s = t->free_source;

	if (s)
		t->free_source = s->next_in_bucket;
	else
		s = &t->sources[t->n_touched_sources++];
	*s = (struct source){.peer = *peer};
	s->peer.v6.sin6_port = 0;
	return *at = s;
}

/* Adds a flow as the last one in the ring of its source. */
static void
add_to_source(struct flows *t, struct flow *f)
{
	struct source **at = find_source(t, &f->key.peer);
	struct source *s = *at ? *at : add_source(t, at, &f->key.peer);

	f->source = s;
	f->source_next = s->ring ? s->ring : f;
	f->source_prev = s->ring ? s->ring->source_prev : f;
	f->source_prev->source_next = f->source_next->source_prev = f;
	s->ring = f->source_next;
	s->n_flows++;
	t->count++;
	/* A source with more than half of the flows is larger than others. */
	if (!t->largest || s->n_flows > t->largest->n_flows)
		t->largest = s;
}

static void
remove_from_source(struct flows *t, struct flow *f)
{
	struct source *s = f->source, **at;

	f->source_prev->source_next = f->source_next;
	f->source_next->source_prev = f->source_prev;
	if (s->ring == f)
		s->ring = f->source_next;
	t->count--;
	if (--s->n_flows)
		return;
	if (t->largest == s)
		t->largest = NULL;
	at = find_source(t, &s->peer);
	*at = s->next_in_bucket;
	s->next_in_bucket = t->free_source;
	t->free_source = s;
}

static bool
less_important(const struct flow *a, const struct flow *b)
{
	return a->list < b->list ||
	    (a->list == b->list && a->last_used < b->last_used);
}

/* Advances the ring, so that the next call compares other flows. */
struct flow *
flow_surplus(struct flows *t, const union sockaddr_inet *client)
{
	struct source *s = t->largest;
	struct flow *found = NULL;

	if (!s || s->n_flows < 2 || s->n_flows <= t->count / 2 ||
	    s == *find_source(t, client))
		return NULL;
	for (uint32_t i = 0; i < SAMPLE && i < s->n_flows; i++) {
		struct flow *f = s->ring;

		if (!f->batch_first && (!found || less_important(f, found)))
			found = f;
		s->ring = f->source_next;
	}
	return found;
}

static void
flow_list_remove(struct flows *t, struct flow *f)
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
flow_list_append(struct flows *t, struct flow *f, enum flow_list list)
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

	t->free = f->next_in_bucket ? f->next_in_bucket : next_unused_flow(t);
	f->next_in_bucket = *bucket;
	*bucket = f;
	flow_list_append(t, f, FLOW_ONE_WAY);
	add_to_source(t, f);
}

void
flow_touch(struct flows *t, struct flow *f, enum flow_list list, msec used_at)
{
	f->last_used = used_at;
	flow_list_remove(t, f);
	flow_list_append(t, f, list);
}

void
flow_remove(struct flows *t, struct flow *f)
{
	struct flow **at = bucket_of(t, &f->key);

	while (*at != f)
		at = &(*at)->next_in_bucket;
	*at = f->next_in_bucket;
	flow_list_remove(t, f);
	remove_from_source(t, f);
	f->fd = -1;
	f->next_in_bucket = t->free;
	t->free = f;
}
