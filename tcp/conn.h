/* The process of one connection. */

#ifndef TCP_CONN_H
#define TCP_CONN_H

struct conn;

/*
 * Runs a connection in the process that a mapper has forked for it, from the
 * PROXY header and the proxy request to the last byte, and exits; status 0
 * means END_CLOSED. The report gets the end. Descriptors up to last_fd are
 * those of the mapper; role is that of its sandbox_seccomp().
 */
_Noreturn void conn_main(struct conn *, int last_fd, unsigned role);

#endif
