/* The metrics of all services, for Prometheus. */

#ifndef SERVER_STATS_H
#define SERVER_STATS_H

#include <stdio.h>

struct services;

/* Writes the metrics in the text format of Prometheus. Allocates nothing. */
void stats_print(FILE *, const struct services *);

#endif
