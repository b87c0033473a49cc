/* One end of a map: an address, a path or a name, and ports. */

#ifndef CONFIG_ENDPOINT_H
#define CONFIG_ENDPOINT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

enum endpoint_kind {
	EP_LOOPBACK, /* no address: 127.0.0.1 and ::1 */
	EP_ANY,      /* ":PORT": every address of both families */
	EP_IPV4,
	EP_IPV6,
	EP_HOST,      /* a name, resolved at each connection; targets only */
	EP_UNIX_PATH, /* UNIX socket in the file system */
	EP_UNIX_ABSTRACT, /* UNIX socket in the abstract name space */
	EP_SYSTEMD,       /* sockets handed to us by that name; listens only */
	EP_PROXY, /* where the client asks for, as of a proxy; targets only */
	EP_STDIO  /* "-": one connection on standard input and output */
};

/* One end of a map: where it listens, or one place it connects to. */
struct endpoint {
	enum endpoint_kind kind;
	char *arg;            /* as the user wrote it, without NS@; owned */
	char *name;           /* HOST, PATH, a NAME (without '@'); owned */
	char *zone;           /* INET6: interface name or number; owned */
	struct in6_addr addr; /* INET: the first four bytes */
	uint16_t port_first,
	    port_last; /* ports, both ends included; 0 for UNIX */
};

/*
 * Reads one end of a map, its namespace cut off, from a text that it may take
 * to pieces: a target of a map on which so many ports listen, or, for 0, what
 * listens. NULL; or why it is wrong, a string constant, and *part points to
 * what is. side_free releases *side in any case.
 */
const char *endpoint_parse(struct endpoint *, char *text, unsigned ports,
    const char **part);
void endpoint_free(struct endpoint *);

/* True if both are the same but for their ports. */
bool endpoint_equal(const struct endpoint *, const struct endpoint *);

/*
 * True if who connects to a target, in the namespace of what listens, meets
 * that on one of its ports, as far as the words tell.
 */
bool endpoint_leads_to(const struct endpoint *to,
    const struct endpoint *listen);

/* Writes the canonical form. */
void endpoint_print(FILE *, const struct endpoint *);

/* Reads the address of a map's sockets; the rest as side_parse(). */
const char *parse_source_addr(struct endpoint *, char *text, const char **part);
/* Reads the name of an interface into a string of the caller's. */
const char *parse_ifname(char **device, const char *text);

/*
 * Fills *addr with the side's socket address for the port lo + index, in the
 * namespace one is in: a zone is looked up there. Returns its length, or 0
 * with errno (ENODEV no such zone). LOOPBACK and ANY give the family asked
 * for, AF_INET or AF_INET6; HOST gives EINVAL.
 */
socklen_t endpoint_sockaddr(struct sockaddr_storage *addr,
    const struct endpoint *, unsigned index, int family);

#endif
