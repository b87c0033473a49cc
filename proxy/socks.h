/* Addresses as SOCKS5 writes them. */

#ifndef PROXY_SOCKS_H
#define PROXY_SOCKS_H

#include <stddef.h>
#include <sys/types.h>

struct endpoint;

/* How SOCKS5 names a kind of address. */
enum {
	SOCKS_ATYP_V4 = 1,
	SOCKS_ATYP_DOMAIN = 3,
	SOCKS_ATYP_V6 = 4
};

/*
 * How long an address of SOCKS5 is, from its kind to its port, of which there
 * may be less; 0 if that cannot be told yet; -1 with EAFNOSUPPORT.
 */
ssize_t socks_addr_length(const unsigned char *data, size_t length);

/*
 * Writes such an address, all of which is there, as HOST:PORT, HOSTPORT_MAX
 * bytes at most. -1 with EINVAL for a host that holds a NUL.
 */
int socks_addr_format(char *text, const unsigned char *data);

/*
 * Takes HOST:PORT as a stranger says it, replacing *side: what a map's target
 * would be, but no other kind; no path, and no number that only a resolver
 * knows for an address. -1 with EINVAL.
 */
int endpoint_parse_untrusted(struct endpoint *ep, const char *text);

#endif
