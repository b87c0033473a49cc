/* One end of a map: an address or host name and its ports, or a UNIX socket. */

#ifndef CONFIG_ENDPOINT_H
#define CONFIG_ENDPOINT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

enum endpoint_kind {
	EP_LOOPBACK, /* "PORT": 127.0.0.1 and ::1 */
	EP_ANY,      /* ":PORT": every address of both families */
	EP_IPV4,
	EP_IPV6,
	EP_HOST,          /* a host name; targets only */
	EP_UNIX_PATH,     /* "/path" */
	EP_UNIX_ABSTRACT, /* "@name", see unix(7) */
	EP_SYSTEMD,       /* sockets from systemd.socket(5); listeners only */
	EP_PROXY,    /* the target that a proxy client requests; targets only */
	EP_ORIGINAL, /* where a redirected client went; targets only */
	EP_STDIO     /* "-", standard input and output; listeners only */
};

/* A listener, target or hop of a map, or the source address of its sockets. */
struct endpoint {
	enum endpoint_kind kind;
	char *arg;  /* the user's text without NS@; owned */
	char *name; /* host, path, or abstract name without '@'; owned */
	char *zone; /* interface of an IPv6 address, or NULL; owned */
	struct in6_addr addr; /* an IPv4 address is its first four bytes */
	uint16_t port_first;
	uint16_t port_last; /* inclusive; both are 0 without ports */
};

/*
 * Parses an endpoint without its NS@ from text, which is modified. ports is the
 * number of ports that the map listens on; 0 means that text is the listener.
 * Returns NULL; or why it is wrong, a string constant, with *bad_part pointing
 * into text. endpoint_free() releases *ep in either case.
 */
const char *endpoint_parse(struct endpoint *ep, char *text, unsigned ports,
    const char **bad_part);
void endpoint_free(struct endpoint *);

/* Returns the number of ports in the range; 1 if there are no ports. */
unsigned endpoint_ports(const struct endpoint *);

/* Returns true if both are equal, apart from their ports. */
bool endpoint_equal(const struct endpoint *, const struct endpoint *);

/*
 * Returns true if connecting to target, in the namespace of the listener,
 * reaches the listener on one of its ports, as far as can be told without
 * asking the system.
 */
bool endpoint_leads_to(const struct endpoint *target,
    const struct endpoint *listen);

/*
 * Returns true if the endpoint is an abstract name that a shell makes of
 * $NS@8080, $NS@HOST:PORT, $NS@proxy or $NS@original when NS is empty.
 */
bool endpoint_lacks_ns(const struct endpoint *);

/* Writes the canonical form, without NS@. */
void endpoint_print(FILE *, const struct endpoint *);

/* Parses the source address of a map's sockets. Returns as endpoint_parse(). */
const char *parse_source_addr(struct endpoint *ep, char *text,
    const char **bad_part);

/*
 * Parses N or N-M. Returns NULL; or why it is wrong, a string constant, with
 * *bad_part pointing into text, which is unchanged.
 */
const char *parse_port_range(char *text, uint16_t *first, uint16_t *last,
    const char **bad_part);

/*
 * Copies an interface name into *ifname, which the caller frees. Returns NULL,
 * or why the name is wrong, a string constant.
 */
const char *parse_ifname(char **ifname, const char *text);

/*
 * Fills *addr with the socket address for port_first + port_index. A zone is
 * looked up in the current namespace. family, AF_INET or AF_INET6, selects the
 * address of EP_LOOPBACK and EP_ANY. Returns the length of the address; or 0
 * with errno: ENODEV if there is no such zone, EINVAL if the kind has no
 * address.
 */
socklen_t endpoint_sockaddr(struct sockaddr_storage *addr,
    const struct endpoint *ep, unsigned port_index, int family);

#endif
