/* Serving a proxy's clients: SOCKS and HTTP. */

#ifndef PROXY_SERVER_H
#define PROXY_SERVER_H

struct conn;

/*
 * Hears what the client of a proxy asks for, dials it and answers. What
 * dial() returns; or -1 with errno, the answer given, and tally->end set.
 */
int proxy_handle_client(struct conn *);

#endif
