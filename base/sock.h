/* Options and state of stream sockets. */

#ifndef BASE_SOCK_H
#define BASE_SOCK_H

#include <stdbool.h>

/* A client that was reset must not reach the target any more: ECONNABORTED. */
bool client_was_reset(int client);

/*
 * Sets on a new socket what every socket of a connection has: no Nagle delay,
 * keepalive, urgent data in line, and a reset on close(2) until relay() has
 * seen both ends. A listener hands all of it down to what it accepts.
 */
void sock_set_stream_options(int fd);

/* Urgent data in line: accept(2) hands that down to no UNIX socket. */
void sock_set_oobinline(int fd);

/* Has close(2) send a reset, or else what was not sent yet and an end. */
void sock_reset_on_close(int fd, bool on);

#endif
