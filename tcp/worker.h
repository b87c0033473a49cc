/* A worker: runs many connections in one event loop. */

#ifndef TCP_WORKER_H
#define TCP_WORKER_H

#include <stdint.h>

struct map;
struct tcp;

/*
 * Maps memory for `capacity` connections of each worker that is forked later.
 * Returns -1 with errno.
 */
int worker_alloc(const struct map *, uint32_t capacity);

/*
 * Runs a worker with the table of that number, then exits. The worker drains
 * when the other end of `lifeline`, a socket, is closed.
 */
_Noreturn void worker_main(struct tcp *, uint32_t number, int lifeline);

#endif
