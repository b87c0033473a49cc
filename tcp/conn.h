/* The process of one connection. */

#ifndef TCP_CONN_H
#define TCP_CONN_H

#include <stdbool.h>
#include <stddef.h>

struct conn;

/*
 * Runs a connection in the process that a mapper has forked for it, from the
 * PROXY header and the proxy request to the last byte, and exits; status 0
 * means END_CLOSED. The report gets the end. Descriptors up to last_fd are
 * those of the mapper; role is that of its sandbox_seccomp().
 */
_Noreturn void conn_main(struct conn *, int last_fd, unsigned role);

/*
 * The same in parts, for a process that is kept, see kept.c. conn_init() closes
 * the descriptors, except the n of fds, and limits the process. conn_serve()
 * returns the exit status. conn_forget() closes the client, and discards what
 * it has sent; it returns false if the process must exit, because it has a
 * socket of the listen namespace.
 */
void conn_init(struct conn *, const int *fds, size_t n, int last_fd);
int conn_serve(struct conn *, unsigned role);
bool conn_forget(const struct conn *);

#endif
