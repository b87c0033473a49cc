/* Formats, converts and matches IPv4 and IPv6 addresses. */

#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* An IPv4 or IPv6 socket address. Bytes that its family does not use are 0. */
union sockaddr_inet {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* An address block. IPv4 is stored as v4-mapped IPv6, with 96 to 128 bits. */
struct cidr {
	struct in6_addr addr;
	uint8_t bits;
};

struct cidr_list {
	struct cidr *items; /* owned */
	size_t count;
};

/*
 * Returns true if a block of the list contains the address. A v4-mapped address
 * counts as IPv4. "::/0" contains every IPv6 address and no IPv4 address.
 */
bool cidr_match(const struct cidr_list *, const union sockaddr_inet *);

/* Returns true if the block is one of IPv4. */
bool is_v4_cidr(const struct cidr *);

/*
 * Returns the address with a v4-mapped one converted to IPv4, because a
 * listener for both families reports its IPv4 clients as v4-mapped.
 */
union sockaddr_inet unmap_v4(const struct sockaddr_storage *);

/* Returns four bytes, an IPv4 address, as v4-mapped IPv6. */
struct in6_addr v4_to_mapped(const void *four);

/*
 * Writes "10.0.0.1:80" or "fd00::1/80", or "unix" for any other family, into
 * buf, which has SOCKADDR_STRLEN bytes. Returns buf.
 */
#define SOCKADDR_STRLEN 80
const char *sockaddr_format(const struct sockaddr *, char *buf);

/* Returns true if the address is IPv4 or IPv6; false if unset or UNIX. */
bool sockaddr_is_inet(const union sockaddr_inet *);

#endif
