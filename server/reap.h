/* Children of the server that have exited or were stopped. */

#ifndef SERVER_REAP_H
#define SERVER_REAP_H

#include "base/clock.h"

struct readers;

/*
 * Reaps the children that have exited, and continues those that were stopped:
 * mappers, connections of mappers that have exited, processes that answer
 * readers. A mapper that is stopped again and again drains, with that timeout.
 */
void reap_children(struct readers *, msec drain_timeout);

#endif
