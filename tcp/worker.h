/* Connections that share an event loop. */

#ifndef TCP_WORKER_H
#define TCP_WORKER_H

#include <stdint.h>

#include "base/clock.h"

struct conn;
struct conn_report;
struct map;

/*
 * Makes room for so many connections to the map's targets, to be inherited by
 * its workers. -1 with errno.
 */
int worker_alloc(const struct map *, uint32_t capacity);

/*
 * One of them begins: it watches in that epoll, with data from base on, reports
 * in tally[i], and calls ended(i, 0) when i is done and its sockets are closed.
 */
void worker_init(int epoll, uint64_t base, struct conn_report *,
    void (*ended)(uint32_t i, int status));

/* Takes over the client of a call. */
void worker_add_conn(uint32_t i, struct conn *);

/* What an event says whose data was so much more than base. */
void worker_event(uint64_t data, uint32_t events);

/* Does what is due by now; returns when that is to be done again, or NEVER. */
msec worker_run_timers(msec at);

#endif
