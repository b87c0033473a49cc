/* The server process. */

#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

struct config;

/*
 * Opens the listeners, starts the mappers, reports that it is ready, and serves
 * until a signal ends the process. Returns the exit status; errors have been
 * logged.
 */
int server_run(struct config *);

#endif
