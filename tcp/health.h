/* Which targets are down: noted, and logged once. */

#ifndef TCP_HEALTH_H
#define TCP_HEALTH_H

#include "base/clock.h"

struct conn_report;
struct slot;
struct tcp;

/*
 * Looks for what open connections have found out about their targets. Returns
 * when to do so again, or NEVER.
 */
msec health_run(struct tcp *, msec now);

/* Notes the failures of targets since the last call. */
void health_note_failures(struct tcp *);

/*
 * Notes what a connection says about its target, at its end or before. The
 * report is a copy, and can be forged.
 */
void health_note_conn(const struct tcp *, const struct slot *,
    const struct conn_report *);

#endif
