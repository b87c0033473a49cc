/* The process that opens UDP sockets for the clients of a proxy. */

#ifndef SERVER_OPENER_H
#define SERVER_OPENER_H

#include "base/sandbox.h"

struct map;

/*
 * Starts the opener of a map from its mapper, whose descriptors 0 and 1 lead to
 * /dev/null. The opener enters the listen namespace, drops all rights, and
 * opens sockets for those who ask by handover_ask() on the descriptor that is
 * returned. It exits when nobody has that descriptor open. Returns -1 with
 * errno.
 */
int opener_spawn(const struct map *, const struct cred *, bool sandbox);

#endif
