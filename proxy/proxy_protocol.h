/* Headers of the PROXY protocol, versions 1 and 2. */

#ifndef PROXY_PROXY_PROTOCOL_H
#define PROXY_PROXY_PROTOCOL_H

#include <stddef.h>

struct io;
union sockaddr_inet;

#define PP_TLVS_MAX   4096
#define PP_DGRAM_MAX  320
#define PP_HEADER_MAX (PP_DGRAM_MAX + PP_TLVS_MAX) /* of pp_write() */

/* The fields of a header of version 2, as it has them. */
struct pp_tlvs {
	size_t length;
	unsigned char data[PP_TLVS_MAX];
};

/*
 * Writes a header for a client and the address it connected to, at most
 * PP_HEADER_MAX bytes, and returns its length. The protocol is UNKNOWN (version
 * 1) or UNSPEC (version 2) unless both are IPv4 or both IPv6. Version 2 also
 * names the namespace of the listener, unless ns is NULL, and has the TLVs,
 * unless tlvs is NULL.
 */
size_t pp_write(unsigned char *out, unsigned version,
    const union sockaddr_inet *client, const union sockaddr_inet *local,
    const char *ns, const struct pp_tlvs *tlvs);

/*
 * Does the same for a datagram, in version 2 and at most PP_DGRAM_MAX bytes:
 * the protocol is DGRAM.
 */
size_t pp_write_dgram(unsigned char *out, const union sockaddr_inet *client,
    const union sockaddr_inet *local, const char *ns);

/*
 * Reads a header of either version, and no byte behind it, into *client and
 * *local; a header without addresses leaves both unchanged. *tlvs gets the
 * fields that hold for another receiver, too: no checksum, padding or
 * namespace. Returns -1 with errno: EPROTO, or that of io_read_message().
 */
int pp_read(const struct io *, union sockaddr_inet *client,
    union sockaddr_inet *local, struct pp_tlvs *tlvs);

#endif
