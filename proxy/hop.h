/* The client side of a proxy: connecting through a hop. */

#ifndef PROXY_HOP_H
#define PROXY_HOP_H

struct endpoint;
struct hop;
struct io;

/*
 * Asks the proxy on a connected socket to connect to the target's port
 * port_first + index. Returns -1 with errno: EACCES if the proxy refuses the
 * user or the target, EPROTO if its reply is not of the protocol, an error of
 * the target that the proxy reports, or that of io_write_all() or
 * io_read_message(). *code is then the HTTP status or the SOCKS5 reply of the
 * proxy, or else 0.
 */
int hop_connect(const struct io *, const struct hop *,
    const struct endpoint *target, unsigned index, int *code);

#endif
