/* How many maps have their mappers, in words. */

#ifndef SERVER_STATUS_H
#define SERVER_STATUS_H

#include <stddef.h>

struct service;
struct services;

#define STATUS_TEXT_MAX 256

/* Returns how many of n maps have a mapper for each of their protocols. */
size_t status_count_serving(const struct services *, size_t n_maps);

/* Writes what a service without a mapper waits for, as "waits to listen". */
void status_format_wait(char *text, size_t size, const struct service *);

/*
 * Writes "2 maps", or "1 of 2 maps (MAP waits for namespace 'db')", into
 * STATUS_TEXT_MAX bytes. Returns the text.
 */
const char *status_format(char *text, const struct services *, size_t n_maps);

/* Sends the lines, and the same text as STATUS=, to the service manager. */
void status_notify(const char *lines, const struct services *, size_t n_maps);

/* Sends READY=1 and the status to the service manager. */
void status_notify_ready(const struct services *, size_t n_maps);

#endif
