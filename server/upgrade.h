/* Executes a new program in the process of the server, with its listeners. */

#ifndef SERVER_UPGRADE_H
#define SERVER_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct config;
struct readers;
struct services;

/* In place of a namespace, for UNIX sockets that the server has for itself. */
#define UPGRADE_NO_NS 0

/* Returns true if the file of the program was replaced since the start. */
bool upgrade_available(void);

/*
 * Executes the new program with the same arguments, if the new program accepts
 * them with --check. It inherits the listeners of the services and of readers,
 * whose clients wait. Returns only if the old program goes on, and logs why.
 */
void upgrade_run(const struct services *, const struct readers *,
    const struct config *);

/*
 * Reads which listeners were left by a program that this process ran before.
 * Returns how many; or -1 if there was no such program, or without memory.
 */
int upgrade_init(void);

/* Writes the descriptors of left listeners to fds, which has room for all. */
void upgrade_fds(int *fds);

/*
 * Returns a left listener that has the namespace, address and type, and removes
 * it from the left listeners; or returns -1.
 */
int upgrade_take(uint64_t ns_id, const void *addr, socklen_t length, int type);

/* Closes the left listeners that nothing has taken. */
void upgrade_finish(void);

/*
 * Returns true if mappers of the programs before, or their connections, are
 * left. Called when this program has none of its own.
 */
bool upgrade_has_mappers(void);

/*
 * Ends the mappers of the programs before, and their connections, that are
 * left. Waits a second at most.
 */
void upgrade_end_mappers(void);

#endif
