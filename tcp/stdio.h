/* One connection on standard input and output. */

#ifndef TCP_STDIO_H
#define TCP_STDIO_H

#include <sys/types.h>

struct config;
struct map;

/*
 * Runs the program for its only map, whose LISTEN is "-", as server_run() does
 * for others. Returns the exit status.
 */
int stdio_run(const struct config *);

/*
 * Gives up all rights of this process, a child of `parent`, but those for
 * dialing the targets of the map. Returns 0, or -1 with errno.
 */
int stdio_confine(const struct config *, const struct map *, pid_t parent);

#endif
