/* A process that follows the containers of one runtime for the server. */

#ifndef CONTAINER_TRACKER_H
#define CONTAINER_TRACKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "container/look.h"

/* From the server, a datagram: a name to follow; "" ends that. */
struct tracker_name {
	uint32_t number; /* of that name, which no other name gets */
	char name[LOOK_NAME_SIZE];
};

/* To the server, a datagram: what has become of a name. */
struct tracker_report {
	uint32_t number;
	struct sighting sighting;
};

/*
 * Starts a tracker of n names, and sets *channel to a socket, on which
 * datagrams of both kinds pass. The tracker exits when the channel is closed.
 * Returns 0, or -1 with errno. With no_sandbox, the tracker has no filter of
 * system calls.
 */
int tracker_spawn(enum runtime, const struct tracker_name *names, size_t n,
    bool no_sandbox, int *channel);

#endif
