/* One connection on standard input and output. */

#ifndef TCP_STDIO_H
#define TCP_STDIO_H

struct config;

/*
 * Runs the program for its only map, whose LISTEN is "-", as server_run() does
 * for others. Returns the exit status.
 */
int stdio_run(const struct config *);

#endif
