/* Finds the process that holds a port. */

#ifndef SERVER_HOLDER_H
#define SERVER_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ns;

/*
 * Writes "NAME (pid N)" into buf, for a process that has a port of the
 * namespace open. Returns buf, or NULL if /proc shows no such process.
 */
const char *holder_of_port(char *buf, size_t size, const struct ns *,
    uint16_t port, bool udp);

#endif
