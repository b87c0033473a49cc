/* The PROXY protocol, versions 1 and 2. */

#ifndef PROXY_PROXY_PROTOCOL_H
#define PROXY_PROXY_PROTOCOL_H

#include <stddef.h>

struct io;
union sockaddr_inet;

#define HEADER_SIZE 320

/*
 * Writes the header of the PROXY protocol's version: the client, what it
 * connected to, and, in version 2, the namespace where it did, unless NULL.
 * Peers that are not both IPv4 or both IPv6 are unknown. Returns its length.
 */
size_t pp_write(unsigned char *out, unsigned version,
    const union sockaddr_inet *from, const union sockaddr_inet *to,
    const char *ns);

/*
 * Reads a header of either version, and nothing behind it, into the client
 * and what it connected to; one that names neither leaves them. 0; or -1 with
 * errno, as io_read_message().
 */
int pp_read(const struct io *, union sockaddr_inet *from,
    union sockaddr_inet *to);

#endif
