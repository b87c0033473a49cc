/* IPv4 and IPv6 socket addresses, and blocks of them. */

#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Of a client or a target; what its family does not use is zero. */
union sockaddr_inet {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* IPv4 as v4-mapped, its bits counted from 96. */
struct cidr {
	struct in6_addr addr;
	uint8_t bits;
};

struct cidr_list {
	struct cidr *items; /* owned */
	size_t count;
};

/* True if an item holds the address: an IPv4 one also when it is v4-mapped. */
bool cidr_match(const struct cidr_list *, const union sockaddr_inet *);

/* A listener for both families shows IPv4 clients as v4-mapped: as IPv4. */
union sockaddr_inet unmap_v4(const struct sockaddr_storage *);

/* "10.0.0.1:80", "fd00::1/80", "unix". buf holds SOCKADDR_STRLEN bytes. */
#define SOCKADDR_STRLEN 80
const char *sockaddr_format(const struct sockaddr *, char *buf);

/* Returns the IPv4 address of four bytes as IPv4-mapped IPv6. */
struct in6_addr v4_to_mapped(const void *four);

/* True if the block is one of IPv4. */
bool is_v4_cidr(const struct cidr *);

/* True if the address is IPv4 or IPv6: not unset, not of a UNIX socket. */
bool sockaddr_is_inet(const union sockaddr_inet *);

#endif
