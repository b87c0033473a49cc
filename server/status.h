/* How many maps have their mappers, in words. */

#ifndef SERVER_STATUS_H
#define SERVER_STATUS_H

#include <stddef.h>

struct services;

#define STATUS_TEXT_MAX 96 /* bytes of the text of status_format() */

/* Returns how many of n maps have a mapper for each of their protocols. */
size_t status_count_serving(const struct services *, size_t n_maps);

/* Writes "2 maps" or "1 of 2 maps, 1 waits"; returns the text. */
const char *status_format(char *text, const struct services *, size_t n_maps);

/* Tells the service manager the same, as a status, after the given lines. */
void status_notify(const char *lines, const struct services *, size_t n_maps);

/* Tells the service manager that the server is ready, and the status. */
void status_notify_ready(const struct services *, size_t n_maps);

#endif
