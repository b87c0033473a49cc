/* Log lines of connections. */

#ifndef TCP_CONN_LOG_H
#define TCP_CONN_LOG_H

#include "base/clock.h"

struct conn_report;
struct map;
union sockaddr_inet;

/*
 * Logs what became of a connection, by its tally and the status of its end; 0 is
 * also that of one that was ended from here.
 */
void conn_log(const struct map *, const union sockaddr_inet *, msec started_at,
    struct conn_report *, int status);

/* Logs it as it is now, for the table. */
void conn_log_row(const struct map *, const union sockaddr_inet *,
    msec started_at, struct conn_report *);

#endif
