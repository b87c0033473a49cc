/* The process that opens UDP sockets for the clients of a proxy. */

#ifndef SERVER_OPENER_H
#define SERVER_OPENER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/sandbox.h"

struct map;

/*
 * Starts the opener of a map from its mapper, whose descriptors 0 and 1 lead to
 * /dev/null. The opener enters the listen namespace, drops all rights, and
 * opens sockets for the connections that handover_offer() makes known with the
 * returned descriptor. It exits when the mapper has exited. Returns -1 with
 * errno.
 */
int opener_spawn(const struct map *, const struct cred *, bool sandbox,
    pid_t *);

#endif
