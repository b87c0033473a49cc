/* Parses, compares and prints endpoints, and makes socket addresses of them. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "config/endpoint.h"

#include "base/secret.h"
#include "base/sock.h"
#include "base/text.h"

#define HOST_MAX 253
#define UNIX_MAX 107 /* so that sun_path has room for a NUL */
#define ZONE_MAX 15

#define DIGITS  "0123456789"
#define HEX     DIGITS "abcdefABCDEF"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/*
 * The state of endpoint_parse(). The parsers end parts of the text by a NUL.
 * Each returns NULL, or why it refuses the text that *bad_part points to.
 */
struct endpoint_parser {
	struct endpoint *ep;
	unsigned ports; /* that the map listens on; 0: ep is the listener */
	const char **bad_part;
};

static const char *
dup_string(char **field, const char *text)
{
	*field = strdup(text);
	return *field ? NULL : "out of memory";
}

const char *
parse_port_range(char *text, uint16_t *first, uint16_t *last,
    const char **bad_part)
{
	static const char wrong[] = "not a port: 1 to 65535";
	char *dash = strchr(text, '-'), *high = dash ? dash + 1 : text;
	uint32_t lo, hi;

	if (dash)
		*dash = '\0';
	*bad_part = text;
	if (!parse_uint(text, 1, UINT16_MAX, &lo))
		return wrong;
	*bad_part = high;
	if (!parse_uint(high, 1, UINT16_MAX, &hi))
		return wrong;
	if (dash)
		*dash = '-';
	*bad_part = text;
	if (hi < lo)
		return "a range runs from low to high";
	*first = (uint16_t)lo;
	*last = (uint16_t)hi;
	return NULL;
}

static const char *
parse_ports(struct endpoint_parser *p, char *text)
{
	struct endpoint *ep = p->ep;
	const char *why = parse_port_range(text, &ep->port_first,
	    &ep->port_last, p->bad_part);
	unsigned count = endpoint_ports(ep);

	if (!why && p->ports && count != 1 && count != p->ports)
		return "a target has one port, or as many as listen";
	return why;
}

static const char *
parse_unix(struct endpoint_parser *p, const char *name)
{
	p->ep->kind = EP_UNIX_PATH;
	if (*name == '@') {
		p->ep->kind = EP_UNIX_ABSTRACT;
		name++;
	}
	*p->bad_part = name;
	if (!*name)
		return "an abstract socket needs a name";
	if (strlen(name) > UNIX_MAX)
		return "longer than the 107 bytes of a UNIX socket";
	return dup_string(&p->ep->name, name);
}

const char *
parse_ifname(char **ifname, const char *text)
{
	if (!*text || strlen(text) > ZONE_MAX ||
	    text[strspn(text, LETTERS DIGITS "._-+")])
		return "no interface: 1 to 15 letters, digits, '.', '_', '-', "
		       "'+'";
	return dup_string(ifname, text);
}

static const char *
parse_inet6(struct endpoint_parser *p, char *text)
{
	struct in6_addr *addr = &p->ep->addr;
	char *zone = strchr(text, '%');

	p->ep->kind = EP_IPV6;
	if (zone)
		*zone++ = '\0';
	if (inet_pton(AF_INET6, text, addr) != 1)
		return "not an IPv6 address";
	if (IN6_IS_ADDR_V4MAPPED(addr))
		return "write an IPv4 address as 10.0.0.1";
	if (IN6_IS_ADDR_LINKLOCAL(addr) != (zone != NULL))
		return "a link-local address (fe80::) needs %INTERFACE behind "
		       "it, any other takes none";
	if (!zone)
		return NULL;
	*p->bad_part = zone;
	return parse_ifname(&p->ep->zone, zone);
}

/*
 * Returns true if every label is a decimal or hexadecimal number, because a
 * resolver may read such a name as an address, see inet_aton(3).
 */
static bool
looks_numeric(const char *s)
{
	bool hex;

	do {
		hex = strncasecmp(s, "0x", 2) == 0;
		s += hex ? 2 + strspn(s + 2, HEX) : strspn(s, DIGITS);
	} while (*s++ == '.');
	return s[-1] == '\0';
}

static const char misplaced[] =
    "tcp, udp and tcp+udp stand in front of the whole map: PROTO:NS@PORT=...";

static bool
is_proto(const char *text)
{
	return strcmp(text, "tcp") == 0 || strcmp(text, "udp") == 0 ||
	    strcmp(text, "tcp+udp") == 0;
}

static const char *
parse_host(struct endpoint_parser *p, const char *text)
{
	p->ep->kind = EP_HOST;
	if (is_proto(text))
		return misplaced;
	if (text[strspn(text, LETTERS DIGITS "-._")] || *text == '.' ||
	    strstr(text, ".."))
		return "a host name is letters, digits, '-' and '_', in labels "
		       "with one '.' between them";
	if (strlen(text) > HOST_MAX)
		return "longer than the 253 bytes of a host name";
	if (looks_numeric(text))
		return "not an IPv4 address: four numbers, each 0 to 255";
	return dup_string(&p->ep->name, text);
}

/*
 * Parses an address. Accepts a host name if numeric is NULL; otherwise refuses
 * a host name with numeric as the reason.
 */
static const char *
parse_address(struct endpoint_parser *p, char *text, const char *numeric)
{
	struct in6_addr *addr = &p->ep->addr;
	const char *why = NULL;

	*p->bad_part = text;
	if (strchr(text, ':'))
		why = parse_inet6(p, text);
	else if (inet_pton(AF_INET, text, addr) == 1)
		p->ep->kind = EP_IPV4;
	else if (numeric)
		return is_proto(text) ? misplaced : numeric;
	else
		return parse_host(p, text);
	/* Connecting to an unspecified address would reach loopback. */
	if (!why && p->ports && IN6_IS_ADDR_UNSPECIFIED(addr))
		return "no address to connect to (PORT alone is loopback)";
	return why;
}

/* Parses [ADDR]:PORTS, or [HOST]:PORTS of a target. */
static const char *
parse_bracketed(struct endpoint_parser *p, char *text)
{
	char *end = strstr(text, "]:");
	const char *why;

	if (!end)
		return "write [ADDR]:PORT";
	*end = '\0';
	*p->bad_part = text + 1;
	if (!text[1])
		return "brackets are for an address";
	why = parse_address(p, text + 1,
	    p->ports ? NULL : "not a numeric address");
	return why ? why : parse_ports(p, end + 2);
}

/* Parses ADDR/PORTS, ADDR:PORTS, HOST:PORTS or :PORTS, split at separator. */
static const char *
parse_addr_port(struct endpoint_parser *p, char *text, char *separator)
{
	bool slash = *separator == '/', listens = p->ports == 0;
	const char *why = NULL, *numeric = NULL;

	/* "fd00::80" has a wrong separator, but "sctp::80" a wrong protocol. */
	if (!slash && strchr(separator + 1, ':') &&
	    (!listens || text + strspn(text, HEX) == separator))
		return "several colons: write an IPv6 address as ADDR/PORT";
	if (separator == text && !listens)
		return "a target needs an address (PORT alone is loopback)";
	if (slash)
		numeric = "not a numeric address, which ADDR/PORT takes "
			  "(a UNIX socket begins with '/')";
	else if (listens)
		numeric = "neither tcp, udp, tcp+udp nor a numeric address (a "
			  "namespace is NS@PORT)";
	*separator = '\0';
	p->ep->kind = EP_ANY;
	if (listens && !slash && strcasecmp(text, "localhost") == 0)
		p->ep->kind = EP_LOOPBACK;
	else if (*text)
		why = parse_address(p, text, numeric);
	return why ? why : parse_ports(p, separator + 1);
}

const char *
endpoint_parse(struct endpoint *ep, char *text, unsigned ports,
    const char **bad_part)
{
	struct endpoint_parser p = {ep, ports, bad_part};
	bool scheme = strncmp(text, "//", 2) == 0;
	char *slash, *colon;

	if (strncmp(text, "unix:/", 6) == 0)
		text += 5;
	slash = strrchr(text, '/');
	colon = strchr(text, ':');
	*ep = (struct endpoint){.kind = EP_LOOPBACK, .arg = strdup(text)};
	*bad_part = text;
	if (!ep->arg)
		return "out of memory";
	if (!*text)
		return "an address or a port is missing";
	if (scheme || strstr(text, "://"))
		return "an address has no SCHEME:// in front";
	if (!ports && strncmp(text, "systemd:", 8) == 0) {
		ep->kind = EP_SYSTEMD;
		return text[8] ? dup_string(&ep->name, text + 8)
			       : "a name of sockets is missing";
	}
	if (strcmp(text, ports ? "proxy" : "-") == 0) {
		ep->kind = ports ? EP_PROXY : EP_STDIO;
		return NULL;
	}
	if (ports && strcmp(text, "original") == 0) {
		ep->kind = EP_ORIGINAL;
		return NULL;
	}
	if (*text == '/' || *text == '@')
		return parse_unix(&p, text);
	if (*text == '[')
		return parse_bracketed(&p, text);
	if (slash || colon)
		return parse_addr_port(&p, text, slash ? slash : colon);
	if (strchr(DIGITS "-", *text) && !strchr(text, '.'))
		return parse_ports(&p, text);
	return "no port: write ADDR:PORT or NS@PORT, or PORT alone for "
	       "loopback";
}

const char *
parse_source_addr(struct endpoint *ep, char *text, const char **bad_part)
{
	struct endpoint_parser p = {ep, 0, bad_part};

	return parse_address(&p, text, "not a numeric address");
}

unsigned
endpoint_ports(const struct endpoint *ep)
{
	return (unsigned)(ep->port_last - ep->port_first) + 1;
}

bool
endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->kind == b->kind && text_equal(a->name, b->name) &&
	    text_equal(a->zone, b->zone) &&
	    memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0;
}

static const struct endpoint loopback_eps[] = {
    {.kind = EP_IPV4, .addr.s6_addr = {127, 0, 0, 1}},
    {.kind = EP_IPV6, .addr.s6_addr = {[15] = 1}},
};

/* Returns true if the listener accepts connections to the address. */
static bool
listens_on(const struct endpoint *listen, const struct endpoint *target)
{
	bool local = target->kind == EP_IPV4
	    ? target->addr.s6_addr[0] == 127
	    : endpoint_equal(target, &loopback_eps[1]);

	if (listen->kind == EP_ANY)
		return local;
	if (listen->kind == EP_LOOPBACK)
		return endpoint_equal(target, &loopback_eps[0]) ||
		    endpoint_equal(target, &loopback_eps[1]);
	if (listen->kind == target->kind &&
	    IN6_IS_ADDR_UNSPECIFIED(&listen->addr))
		return local;
	return endpoint_equal(listen, target);
}

bool
endpoint_leads_to(const struct endpoint *target, const struct endpoint *listen)
{
	if (target->kind == EP_UNIX_PATH || target->kind == EP_UNIX_ABSTRACT)
		return endpoint_equal(target, listen);
	if (!target->port_first || target->port_first > listen->port_last ||
	    listen->port_first > target->port_last)
		return false;
	if (target->kind == EP_LOOPBACK ||
	    (target->kind == EP_HOST &&
		strcasecmp(target->name, "localhost") == 0))
		return listens_on(listen, &loopback_eps[0]) ||
		    listens_on(listen, &loopback_eps[1]);
	return target->kind != EP_HOST && listens_on(listen, target);
}

bool
endpoint_lacks_ns(const struct endpoint *ep)
{
	const char *name = ep->name, *colon;

	if (ep->kind != EP_UNIX_ABSTRACT)
		return false;
	if ((colon = strrchr(name, ':')))
		name = colon + 1;
	return strcmp(ep->name, "proxy") == 0 ||
	    strcmp(ep->name, "original") == 0 ||
	    (strpbrk(name, DIGITS) && !name[strspn(name, DIGITS ".-/[]")]);
}

void
endpoint_free(struct endpoint *ep)
{
	wipe_and_free(ep->arg);
	wipe_and_free(ep->name);
	wipe_and_free(ep->zone);
}

void
endpoint_print(FILE *out, const struct endpoint *ep)
{
	char addr[INET6_ADDRSTRLEN] = "";
	unsigned lo = ep->port_first, hi = ep->port_last;

	switch (ep->kind) {
	case EP_LOOPBACK:
		break;
	case EP_ANY:
		fputs(":", out);
		break;
	case EP_IPV4:
		inet_ntop(AF_INET, &ep->addr, addr, sizeof(addr));
		fprintf(out, "%s%s", addr, lo ? ":" : "");
		break;
	case EP_IPV6:
		inet_ntop(AF_INET6, &ep->addr, addr, sizeof(addr));
		fprintf(out, "%s%s%s%s", addr, ep->zone ? "%" : "",
		    ep->zone ? ep->zone : "", lo ? "/" : "");
		break;
	case EP_HOST:
		fprintf(out, "%s:", ep->name);
		break;
	case EP_UNIX_PATH:
	case EP_UNIX_ABSTRACT:
	case EP_SYSTEMD:
	case EP_PROXY:
	case EP_ORIGINAL:
	case EP_STDIO:
		fputs(ep->arg, out);
		return;
	}
	if (lo)
		fprintf(out, "%u", lo);
	if (hi != lo)
		fprintf(out, "-%u", hi);
}

static socklen_t
set_inet_addr(struct sockaddr_storage *addr, const void *ipv4, uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
	    .sin_port = htons(port)};

	memcpy(&in.sin_addr, ipv4, sizeof(in.sin_addr));
	memcpy(addr, &in, sizeof(in));
	return sizeof(in);
}

static socklen_t
set_inet6_addr(struct sockaddr_storage *addr, const struct in6_addr *ipv6,
    const char *zone, uint16_t port)
{
	struct sockaddr_in6 in6 = {
	    .sin6_family = AF_INET6,
	    .sin6_port = htons(port),
	    .sin6_addr = *ipv6,
	};

	if (zone) {
		in6.sin6_scope_id = sock_interface(zone);
		if (!in6.sin6_scope_id)
			return 0;
	}
	memcpy(addr, &in6, sizeof(in6));
	return sizeof(in6);
}

/* An abstract name begins with a NUL, see unix(7). */
static socklen_t
set_unix_addr(struct sockaddr_storage *addr, const struct endpoint *ep)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t skip = ep->kind == EP_UNIX_ABSTRACT;
	size_t length = strlen(ep->name);

	if (skip + length >= sizeof(un.sun_path)) {
		errno = ENAMETOOLONG;
		return 0;
	}
	memcpy(un.sun_path + skip, ep->name, length);
	memcpy(addr, &un, sizeof(un));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
}

socklen_t
endpoint_sockaddr(struct sockaddr_storage *addr, const struct endpoint *ep,
    unsigned port_index, int family)
{
	const uint32_t loopback = htonl(INADDR_LOOPBACK), any = 0;
	uint16_t port = (uint16_t)(ep->port_first + port_index);

	memset(addr, 0, sizeof(*addr));
	switch (ep->kind) {
	case EP_LOOPBACK:
		if (family == AF_INET)
			return set_inet_addr(addr, &loopback, port);
		return set_inet6_addr(addr, &in6addr_loopback, NULL, port);
	case EP_ANY:
		if (family == AF_INET)
			return set_inet_addr(addr, &any, port);
		return set_inet6_addr(addr, &in6addr_any, NULL, port);
	case EP_IPV4:
		return set_inet_addr(addr, &ep->addr, port);
	case EP_IPV6:
		return set_inet6_addr(addr, &ep->addr, ep->zone, port);
	case EP_UNIX_PATH:
	case EP_UNIX_ABSTRACT:
		return set_unix_addr(addr, ep);
	case EP_HOST:
	case EP_SYSTEMD:
	case EP_PROXY:
	case EP_ORIGINAL:
	case EP_STDIO:
		break;
	}
	errno = EINVAL;
	return 0;
}
