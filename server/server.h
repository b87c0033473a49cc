/* The server process. */

#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

struct config;

/*
 * Opens every listener, starts every mapper, says ready, and serves until a
 * signal ends it. Returns the exit status; what went wrong has been logged.
 */
int server_run(struct config *);

#endif
