/* Checks what a map names against the system, before it serves. */

#ifndef SERVER_INSPECT_H
#define SERVER_INSPECT_H

struct config;
struct map;

/*
 * Looks at what the targets of a map depend on: src=, dev=, lo of their
 * namespace, and whether the user of mappers may open UNIX sockets. Logs what
 * is wrong. Returns 2, the exit status, if no target can be reached that way,
 * and there is no --wait; else 0. The target namespace must be there.
 */
int inspect_targets(const struct map *, const struct config *);

/*
 * Does the work of --check: looks up the namespaces of all maps, and what their
 * listeners and targets depend on, and binds no port. Returns the exit status,
 * logged.
 */
int inspect_maps(const struct config *);

#endif
