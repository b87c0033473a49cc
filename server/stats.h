/* Reports on all services: a table for people, metrics for Prometheus. */

#ifndef SERVER_STATS_H
#define SERVER_STATS_H

#include <stdio.h>

struct services;

/*
 * Logs a table of the services, and has the mappers log their open connections
 * and flows. Waits one second for all mappers together, but no longer once
 * signal_fd is readable.
 */
void stats_log_table(const struct services *, int signal_fd);

/* Writes the metrics in the text format of Prometheus. */
void stats_print_metrics(FILE *, const struct services *);

#endif
