/*
 * Resolves many names at once.
 *
 * Theory of operation: an entry is a name; a slot holds a running query for one
 * entry. The caller may look up a name many times: the first look-up starts a
 * query or waits for a free slot; the others find the same entry. When a query
 * ends, its result is copied to the entry, and the caller looks up again the
 * names that were pending. If all entries are used, a new name replaces the
 * entry without a query that was looked up longest ago.
 */

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dns/resolver.h"

#define EVENTS      16
#define CHECK_MS    1000 /* between two checks of the files */
#define TTL_MIN_S   1
#define TTL_MAX_S   3600
#define NEGATIVE_MS 5000
#define FAILURE_MS  2000
#define INVALID_MS  60000 /* for an invalid name */
#define STALE_MS    1000  /* during a new query for the name */
#define DOUBT_MS    1000
#define NO_SLOT     (-1)

int
dns_resolver_init(struct dns_resolver *r, const struct dns_source *source,
    msec limit)
{
	r->source = source;
	r->limit = limit;
	for (int i = 0; i < DNS_SLOTS; i++)
		r->entry_of[i] = NO_SLOT;
	r->checked_at = now_ms();
	dns_files_stamp(&source->files, &r->stamp);
	r->epfd = epoll_create1(EPOLL_CLOEXEC);
	return r->epfd == -1 ? -1 : 0;
}

void
dns_resolver_close(struct dns_resolver *r)
{
	for (int i = 0; i < DNS_SLOTS; i++)
		dns_query_stop(&r->query[i]);
	close(r->epfd);
	r->epfd = -1;
}

/* FNV-1a of the name in lower case. */
static uint32_t
hash_of(const char *name)
{
	uint32_t hash = 2166136261U;

	for (; *name; name++) {
		unsigned char c = (unsigned char)*name;

		if (c >= 'A' && c <= 'Z')
			c = (unsigned char)(c + 'a' - 'A');
		hash = (hash ^ c) * 16777619U;
	}
	return hash;
}

static struct dns_entry *
find(struct dns_resolver *r, const char *name, uint32_t hash)
{
	for (unsigned i = 0; i < DNS_ENTRIES; i++)
		if (r->hash[i] == hash && r->entry[i].used &&
		    dns_text_equal(r->entry[i].name, name))
			return &r->entry[i];
	return NULL;
}

static bool
in_use(const struct dns_entry *e)
{
	return e->slot != NO_SLOT || e->waiting;
}

/* Takes an entry for a name. Returns NULL if all entries are in use. */
static struct dns_entry *
claim(struct dns_resolver *r, const char *name, uint32_t hash)
{
	struct dns_entry *best = NULL;

	for (struct dns_entry *e = r->entry; e < r->entry + DNS_ENTRIES; e++) {
		if (!e->used) {
			best = e;
			break;
		}
		if (!in_use(e) && (!best || e->used_at < best->used_at))
			best = e;
	}
	if (!best)
		return NULL;
	memset(best, 0, sizeof(*best));
	best->used = true;
	best->slot = NO_SLOT;
	r->hash[best - r->entry] = hash;
	memcpy(best->name, name, strlen(name) + 1);
	return best;
}

/* Returns how long a result is kept. */
static msec
lifetime(const struct dns_result *result)
{
	uint32_t ttl = result->ttl;

	switch (result->status) {
	case DNS_OK:
		ttl = ttl < TTL_MIN_S ? TTL_MIN_S : ttl;
		return (msec)(ttl > TTL_MAX_S ? TTL_MAX_S : ttl) * 1000;
	case DNS_NO_NAME:
	case DNS_NO_ADDRESS:
		return NEGATIVE_MS;
	case DNS_BAD_NAME:
	case DNS_NOT_ASCII:
		return INVALID_MS;
	default:
		return FAILURE_MS;
	}
}

/* Copies a query's result to its entry. Returns true if the query has ended. */
static bool
resolver_collect(struct dns_resolver *r, int slot)
{
	const struct dns_query *q = &r->query[slot];
	struct dns_entry *e = &r->entry[r->entry_of[slot]];

	if (q->result.status != DNS_PENDING && (!q->active || !e->early)) {
		e->early = q->active;
		e->result = q->result;
		e->result.serial = ++r->serial;
		e->known = true;
		e->expires_at = now_ms() + lifetime(&q->result);
		r->changed = true;
	}
	if (q->active)
		return false;
	e->slot = NO_SLOT;
	r->entry_of[slot] = NO_SLOT;
	return true;
}

/* Starts the query of an entry, or lets the entry wait for a free slot. */
static void
begin(struct dns_resolver *r, struct dns_entry *e)
{
	msec until = r->limit ? now_ms() + r->limit : NEVER;
	int slot = e->slot;

	for (int i = 0; i < DNS_SLOTS && slot == NO_SLOT; i++)
		if (r->entry_of[i] == NO_SLOT)
			slot = i;
	e->waiting = slot == NO_SLOT;
	if (e->waiting)
		return;
	e->slot = slot;
	e->early = false;
	r->entry_of[slot] = (int)(e - r->entry);
	dns_query_start(&r->query[slot], r->source, e->name, until, r->epfd,
	    (uint64_t)slot);
	resolver_collect(r, slot);
}

/* Clears the cache, and restarts the queries that run. */
static void
forget(struct dns_resolver *r)
{
	for (struct dns_entry *e = r->entry; e < r->entry + DNS_ENTRIES; e++) {
		if (!e->used)
			continue;
		e->known = false;
		if (!in_use(e))
			e->used = false;
		else if (!e->waiting)
			begin(r, e);
	}
}

static void
check_files(struct dns_resolver *r, msec now)
{
	struct dns_stamp stamp;

	if (now - r->checked_at < CHECK_MS)
		return;
	r->checked_at = now;
	dns_files_stamp(&r->source->files, &stamp);
	if (!dns_stamp_equal(&stamp, &r->stamp)) {
		r->stamp = stamp;
		forget(r);
	}
}

/* Returns true if the result of an entry may be returned. */
static bool
is_fresh(const struct dns_entry *e, msec now)
{
	if (!e->known)
		return false;
	if (now < e->expires_at)
		return true;
	return in_use(e) && e->result.status == DNS_OK && now < e->stale_until;
}

/* Starts a query if the result has expired and no query runs. */
static void
refresh(struct dns_resolver *r, struct dns_entry *e, msec now)
{
	if ((in_use(e) && !e->early) || (e->known && now < e->expires_at))
		return;
	e->stale_until = now - e->expires_at < STALE_MS ? now + STALE_MS : 0;
	begin(r, e);
}

static const struct dns_result *
set_pending(struct dns_resolver *r, const struct dns_entry *e)
{
	struct dns_server *server = &r->pending.list[DNS_FOUR].server;
	const struct dns_server *asked =
	    e->slot == NO_SLOT ? NULL : dns_query_server(&r->query[e->slot]);

	memset(server, 0, sizeof(*server));
	if (asked)
		*server = *asked;
	return &r->pending;
}

enum dns_status
dns_resolver_ask(struct dns_resolver *r, const char *name, msec now,
    const struct dns_result **result)
{
	static const struct dns_result full = {.status = DNS_LOCAL,
					   .error = EAGAIN},
				       too_long = {.status = DNS_BAD_NAME};
	uint32_t hash = hash_of(name);
	struct dns_entry *e;

	check_files(r, now);
	e = find(r, name, hash);
	if (!e && strlen(name) >= sizeof(e->name)) {
		*result = &too_long;
		return DNS_BAD_NAME;
	}
	if (!e)
		e = claim(r, name, hash);
	if (!e) {
		*result = &full;
		return DNS_LOCAL;
	}
	e->used_at = now;
	refresh(r, e, now);
	*result = is_fresh(e, now) ? &e->result : set_pending(r, e);
	return (*result)->status;
}

static void
run_slot(struct dns_resolver *r, int slot)
{
	if (r->entry_of[slot] == NO_SLOT)
		return;
	dns_query_run(&r->query[slot]);
	resolver_collect(r, slot);
}

/* Gives free slots to waiting entries. */
static void
begin_waiting(struct dns_resolver *r)
{
	for (struct dns_entry *e = r->entry; e < r->entry + DNS_ENTRIES; e++) {
		if (!e->used || !e->waiting)
			continue;
		begin(r, e);
		if (e->waiting)
			return;
	}
}

bool
dns_resolver_run(struct dns_resolver *r)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(r->epfd, events, EVENTS, 0);
	msec now = now_ms();
	bool changed;

	for (int i = 0; i < n; i++)
		run_slot(r, (int)events[i].data.u64);
	for (int i = 0; i < DNS_SLOTS; i++)
		if (dns_query_deadline(&r->query[i]) <= now)
			run_slot(r, i);
	begin_waiting(r);
	changed = r->changed;
	r->changed = false;
	return changed;
}

msec
dns_resolver_deadline(const struct dns_resolver *r)
{
	msec at = NEVER, next;

	if (r->changed)
		return 0;
	for (int i = 0; i < DNS_SLOTS; i++) {
		next = dns_query_deadline(&r->query[i]);
		at = next < at ? next : at;
	}
	return at;
}

bool
dns_resolver_doubt(struct dns_resolver *r, const char *name, uint32_t serial)
{
	struct dns_entry *e = find(r, name, hash_of(name));
	msec now = now_ms();

	if (e && e->known && serial && e->result.serial != serial)
		return true;
	if (e && e->known && now < e->expires_at &&
	    e->expires_at - lifetime(&e->result) + DOUBT_MS <= now)
		e->expires_at = now;
	return e && !(e->known && now < e->expires_at);
}
