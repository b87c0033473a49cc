/* Counters of all maps, for people and for Prometheus. */

#ifndef SERVER_STATS_H
#define SERVER_STATS_H

#include <sys/types.h>

struct cred;
struct services;

/*
 * Logs a table of the services, and of what is open, for which it waits a second
 * over all mappers, or until there is something to read from signals.
 */
void stats_log_table(const struct services *, int signals);

/*
 * Accepts a client and has a process of its own, of that user, write the
 * metrics to it. Returns its pid, which the caller reaps; 0: there is none.
 */
pid_t stats_serve(int listener, const struct services *, const struct cred *);

#endif
