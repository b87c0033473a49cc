/* Keeps datagrams until the addresses of their targets are known. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"
#include "udp/datagram.h"
#include "udp/flow.h"
#include "udp/hold.h"

struct hold *
hold_open(void)
{
	return memory_map(NULL, 1, sizeof(struct hold),
	    MAP_PRIVATE | MAP_NORESERVE);
}

uint32_t
hold_group(const void *common, size_t length)
{
	const unsigned char *byte = common;
	uint32_t hash = 0;

	while (length--)
		hash = hash * 31 + *byte++;
	return hash;
}

static size_t
count_group(const struct hold *h, uint32_t group)
{
	size_t n = 0;

	for (size_t i = 0; i < h->count; i++)
		n += h->group[i] == group;
	return n;
}

/* Appends a datagram, for which h has room. d may be a later item of h. */
static void
hold_append(struct hold *h, const struct datagram *d, uint32_t group)
{
	struct datagram *item = &h->item[h->count];
	size_t length = d->length;

	memmove(&h->key[h->count], d->key, sizeof(*d->key));
	memmove(h->data + h->used, d->data, length);
	*item = (struct datagram){.data = h->data + h->used,
	    .length = length,
	    .tos = d->tos,
	    .key = &h->key[h->count]};
	h->group[h->count++] = group;
	h->used += length;
}

bool
hold_add(struct hold *h, const struct datagram *d, uint32_t group)
{
	if (h->count == HOLD_MAX || HOLD_BYTES - h->used < d->length ||
	    count_group(h, group) == HOLD_GROUP_MAX)
		return false;
	hold_append(h, d, group);
	return true;
}

void
hold_replay(struct hold *h, bool (*relay)(void *arg, struct datagram *),
    void *arg)
{
	size_t n = h->count;

	h->count = h->used = 0;
	for (size_t i = 0; i < n; i++) {
		struct datagram d = h->item[i];

		if (!relay(arg, &d))
			hold_append(h, &d, h->group[i]);
	}
}
