/* The process of one connection. */

#ifndef TCP_CONN_H
#define TCP_CONN_H

struct conn;

/*
 * The life of a connection's process, which a mapper with these descriptors up
 * to last, and in this role of sandbox_confine(), has forked.
 */
_Noreturn void conn_main(struct conn *, int last, unsigned role);

#endif
