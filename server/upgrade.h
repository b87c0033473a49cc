/* A new program goes on in the process of the server, with its listeners. */

#ifndef SERVER_UPGRADE_H
#define SERVER_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct config;
struct services;

/* Returns true if the file of the program was replaced since the start. */
bool upgrade_available(void);

/*
 * Executes the new program with the same arguments, if it accepts them with
 * --check. Returns only if the old one goes on; the reason is logged.
 */
void upgrade_run(const struct services *, const struct config *);

/*
 * Reads which listeners the program before has left to this one. Returns how
 * many, and -1 if there was no such program or without memory.
 */
int upgrade_init(void);

/* Writes their descriptors to fds, which has room for all of them. */
void upgrade_fds(int *fds);

/*
 * Returns the socket of that type that was left in that namespace with that
 * address, and forgets it; or -1.
 */
int upgrade_take(uint64_t ns_id, const void *addr, socklen_t length, int type);

/* Closes the sockets that no map took. */
void upgrade_finish(void);

#endif
