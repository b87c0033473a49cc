/* The log lines of connections. */

#ifndef TCP_CONN_LOG_H
#define TCP_CONN_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct conn_report;
struct map;
struct row;
union sockaddr_inet;

/*
 * Logs a connection that has ended: client `peer`, its report, and the wait
 * status of its process. Status 0 is also that of a connection without a
 * process, and of one that was killed on purpose. Both functions change the
 * report, which must be a copy that no connection can write to.
 */
void conn_log(const struct map *, const union sockaddr_inet *peer,
    msec started_at, struct conn_report *, int status);

/* Returns true if a proxy client did not give the right password. */
bool conn_is_unauthorized(const struct map *, const struct conn_report *);

/* Logs, with -v, that a connection was accepted. */
void conn_log_opened(const struct map *, const union sockaddr_inet *peer);

/*
 * Log that the target of a report is down, or is reached again after a span,
 * for clients of a port, counted from the map's first one.
 */
void conn_log_down(const struct map *, const struct conn_report *,
    uint32_t port);
void conn_log_up(const struct map *, const struct conn_report *, uint32_t port,
    msec span);

/* Fills the row of an open connection, with what conn_log() would log. */
void conn_log_row(struct row *, const struct map *,
    const union sockaddr_inet *peer, msec started_at, struct conn_report *);

#endif
