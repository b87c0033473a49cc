/* Descriptors, limits and signals of the server process. */

#ifndef SERVER_SETUP_H
#define SERVER_SETUP_H

#include <stdbool.h>

struct config;
struct map;

/*
 * Closes inherited descriptors, because the reader of a pipe would wait for its
 * end. Keeps 0 to 2, those that the configuration, the map of --stats or
 * $LISTEN_FDS names, and the n_left listeners of upgrade_init(). Returns -1
 * with errno.
 */
int setup_close_inherited(const struct config *, const struct map *stats,
    int n_left);

/* Raises the limit of open files as far as the process may. */
void setup_raise_limits(void);

/*
 * Blocks the signals that the server handles, unblocks all others, and returns
 * a descriptor to read them from, or -1 with errno. Mappers inherit the mask,
 * so that ^C at a terminal ends no connection. INT and HUP stay ignored if they
 * were ignored at the start.
 */
int setup_signalfd(void);

/* Logs the settings that lower the security; waits: something is missing. */
void setup_log(const struct config *, bool waits);

#endif
