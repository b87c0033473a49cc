/* Tables of services, connections and flows, for the log and for --status. */

#ifndef SERVER_TABLE_H
#define SERVER_TABLE_H

#include <stdio.h>

struct asker;
struct services;

/* Logs all services, each with its open connections and flows. */
void table_log(const struct services *, struct asker *);

/*
 * Write a heading and a line for each service, or for each open connection or
 * flow of the maps whose text contains `name`, or that listen on the port
 * `name`; nothing if there is no such map. The fields have a tab between them,
 * and no control byte. Allocate nothing.
 */
void table_print_maps(FILE *, const struct services *, struct asker *);
void table_print_open(FILE *, const struct services *, const char *name,
    struct asker *);

#endif
