/* Headers of the PROXY protocol, versions 1 and 2. */

#ifndef PROXY_PROXY_PROTOCOL_H
#define PROXY_PROXY_PROTOCOL_H

#include <stddef.h>

struct io;
union sockaddr_inet;

#define PP_HEADER_MAX 320 /* bytes of a header that pp_write() writes */

/*
 * Writes a header for a client and the address it connected to, at most
 * PP_HEADER_MAX bytes, and returns its length. The protocol is UNKNOWN (version
 * 1) or UNSPEC (version 2) unless both are IPv4 or both IPv6. Version 2 also
 * names the namespace of the listener, unless ns is NULL.
 */
size_t pp_write(unsigned char *out, unsigned version,
    const union sockaddr_inet *client, const union sockaddr_inet *local,
    const char *ns);

/*
 * Reads a header of either version, and no byte behind it, into *client and
 * *local; a header without addresses leaves both unchanged. Returns -1 with
 * errno: EPROTO, or that of io_read_message().
 */
int pp_read(const struct io *, union sockaddr_inet *client,
    union sockaddr_inet *local);

#endif
