/* Finds the process that holds a port. */

#ifndef SERVER_HOLDER_H
#define SERVER_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ns;

/*
 * Writes "NAME (pid N)" of a process that listens on a port in the namespace
 * into buf. Returns buf, or NULL if /proc does not tell.
 */
const char *holder_of_port(char *buf, size_t size, const struct ns *,
    uint16_t port, bool udp);

#endif
