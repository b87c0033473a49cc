/* Addresses in the form of SOCKS5. */

#ifndef PROXY_SOCKS_H
#define PROXY_SOCKS_H

#include <stddef.h>
#include <sys/types.h>

struct endpoint;

#define SOCKS_STRING_MAX 255 /* bytes behind a length of one byte */

/* The types of an address, RFC 1928 section 5. */
enum {
	SOCKS_ATYP_V4 = 1,
	SOCKS_ATYP_DOMAIN = 3,
	SOCKS_ATYP_V6 = 4
};

/*
 * Returns the length of an address from its type to its port, whether or not
 * all of it is there; 0 if the data is too short to tell; -1 with EAFNOSUPPORT.
 */
ssize_t socks_addr_length(const unsigned char *data, size_t length);

/*
 * Writes a whole address as HOST:PORT, at most HOSTPORT_MAX bytes, an IPv6
 * address in brackets even if it was written as a host name. Returns -1 with
 * EINVAL for a host that contains a NUL.
 */
int socks_addr_format(char *text, const unsigned char *addr);

/*
 * Parses HOST:PORT of a proxy's client into *ep, whose former value is freed.
 * The syntax is that of a map's target, but HOST is an address or a host name.
 * A path is invalid, and so is a number such as 127.1, which a resolver could
 * take for an address. An IPv4-mapped address becomes IPv4. Returns -1 with
 * EINVAL.
 */
int endpoint_parse_untrusted(struct endpoint *ep, const char *text);

#endif
