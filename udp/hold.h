/* Datagrams that wait until a name is resolved. */

#ifndef UDP_HOLD_H
#define UDP_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "udp/datagram.h"
#include "udp/flow.h"

#define HOLD_MAX       128       /* datagrams */
#define HOLD_GROUP_MAX 32        /* of one group */
#define HOLD_BYTES     (1 << 20) /* of all datagrams together */

/*
 * Copies of datagrams, in the order of their arrival. The struct takes 1 MiB,
 * zeroed, of which the kernel provides only the pages that datagrams have used.
 */
struct hold {
	size_t count, used; /* used: bytes of data[] */
	struct datagram item[HOLD_MAX];
	struct flow_key key[HOLD_MAX];
	uint32_t group[HOLD_MAX];
	unsigned char data[HOLD_BYTES];
};

/* Returns zeroed memory for a hold, or NULL with errno. */
struct hold *hold_open(void);

/* Returns a number for the bytes that datagrams of one group have in common. */
uint32_t hold_group(const void *, size_t length);

/*
 * Copies a datagram and its key. Returns false if there is no room. A group,
 * such as the datagrams of one client, can take HOLD_GROUP_MAX only, so that
 * other groups have room.
 */
bool hold_add(struct hold *, const struct datagram *, uint32_t group);

/*
 * Calls relay() for each datagram in order, and removes those for which it
 * returns true. relay() must not add datagrams.
 */
void hold_replay(struct hold *, bool (*relay)(void *arg, struct datagram *),
    void *arg);

#endif
