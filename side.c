/* Parses and prints one end of a map: an address and its ports, or a socket. */

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "nsfwd.h"

#define HOST_MAX 253
#define UNIX_MAX 107 /* sun_path holds it and a NUL */
#define ZONE_MAX 15

#define DIGITS  "0123456789"
#define HEX     DIGITS "abcdefABCDEF"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/*
 * The text is taken to pieces in place: a NUL ends a part. A parser returns
 * NULL, or why it refuses what *part then points to.
 */
struct endpoint_parser {
	struct endpoint *side;
	unsigned ports; /* that listen; 0: this is the side that does */
	const char **part;
};

/* A 0 in front might be meant as octal: it is refused. */
bool
parse_uint(const char *text, uint32_t least, uint32_t most, uint32_t *value)
{
	unsigned long long n;

	if (!*text || text[strspn(text, DIGITS)] || (*text == '0' && text[1]))
		return false;
	n = strtoull(text, NULL, 10);
	if (n < least || n > most)
		return false;
	*value = (uint32_t)n;
	return true;
}

static const char *
dup_string(char **field, const char *text)
{
	*field = strdup(text);
	return *field ? NULL : "out of memory";
}

/* N or N-M */
static const char *
parse_ports(struct endpoint_parser *r, char *part)
{
	static const char wrong[] = "not a port: 1 to 65535";
	char *dash = strchr(part, '-'), *high = dash ? dash + 1 : part;
	uint32_t lo, hi;

	if (dash)
		*dash = '\0';
	*r->part = part;
	if (!parse_uint(part, 1, UINT16_MAX, &lo))
		return wrong;
	*r->part = high;
	if (!parse_uint(high, 1, UINT16_MAX, &hi))
		return wrong;
	if (dash)
		*dash = '-';
	*r->part = part;
	if (hi < lo)
		return "a range runs from low to high";
	if (r->ports && hi != lo && hi - lo + 1 != r->ports)
		return "a target has one port, or as many as listen";
	r->side->port_first = (uint16_t)lo;
	r->side->port_last = (uint16_t)hi;
	return NULL;
}

static const char *
parse_unix(struct endpoint_parser *r, const char *name)
{
	r->side->kind = EP_UNIX_PATH;
	if (*name == '@') {
		r->side->kind = EP_UNIX_ABSTRACT;
		name++;
	}
	*r->part = name;
	if (!*name)
		return "an abstract socket needs a name";
	if (strlen(name) > UNIX_MAX)
		return "longer than the 107 bytes of a UNIX socket";
	return dup_string(&r->side->name, name);
}

const char *
parse_ifname(char **device, const char *text)
{
	if (!*text || strlen(text) > ZONE_MAX ||
	    text[strspn(text, LETTERS DIGITS "._-+")])
		return "no interface: 1 to 15 letters, digits, '.', '_', '-', "
		       "'+'";
	return dup_string(device, text);
}

static const char *
parse_inet6(struct endpoint_parser *r, char *part)
{
	struct in6_addr *addr = &r->side->addr;
	char *zone = strchr(part, '%');

	r->side->kind = EP_IPV6;
	if (zone)
		*zone++ = '\0';
	if (inet_pton(AF_INET6, part, addr) != 1)
		return "not an IPv6 address";
	if (IN6_IS_ADDR_V4MAPPED(addr))
		return "write an IPv4 address as 10.0.0.1";
	if (IN6_IS_ADDR_LINKLOCAL(addr) != (zone != NULL))
		return "a link-local address (fe80::) needs %INTERFACE behind "
		       "it, any other takes none";
	if (!zone)
		return NULL;
	*r->part = zone;
	return parse_ifname(&r->side->zone, zone);
}

/*
 * What a resolver might take for a number in some notation of inet_aton(3):
 * every label is decimal or hexadecimal.
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
parse_host(struct endpoint_parser *r, const char *part)
{
	r->side->kind = SIDE_HOST;
	if (is_proto(part))
		return misplaced;
	if (part[strspn(part, LETTERS DIGITS "-._")] || *part == '.' ||
	    strstr(part, ".."))
		return "a host name is letters, digits, '-' and '_', in labels "
		       "with one '.' between them";
	if (strlen(part) > HOST_MAX)
		return "longer than the 253 bytes of a host name";
	if (looks_numeric(part))
		return "not an IPv4 address: four numbers, each 0 to 255";
	return dup_string(&r->side->name, part);
}

/* A host name will do where numeric does not say why it must be a number. */
static const char *
parse_address(struct endpoint_parser *r, char *part, const char *numeric)
{
	struct in6_addr *addr = &r->side->addr;
	const char *why = NULL;

	*r->part = part;
	if (strchr(part, ':'))
		why = parse_inet6(r, part);
	else if (inet_pton(AF_INET, part, addr) == 1)
		r->side->kind = EP_IPV4;
	else if (numeric)
		return is_proto(part) ? misplaced : numeric;
	else
		return parse_host(r, part);
	/* Connecting to it would reach loopback. */
	if (!why && r->ports && IN6_IS_ADDR_UNSPECIFIED(addr))
		return "no address to connect to (PORT alone is loopback)";
	return why;
}

/* [ADDR]:PORTS; a target that a program wrote may be a name all the same. */
static const char *
parse_bracketed(struct endpoint_parser *r, char *text)
{
	char *end = strstr(text, "]:");
	const char *why;

	if (!end)
		return "write [ADDR]:PORT";
	*end = '\0';
	*r->part = text + 1;
	if (!text[1] || (!r->ports && !strchr(text, ':')))
		return "brackets are for an IPv6 address";
	why = parse_address(r, text + 1, NULL);
	return why ? why : parse_ports(r, end + 2);
}

/* ADDR/PORTS, ADDR:PORTS, HOST:PORTS, :PORTS */
static const char *
parse_addr_port(struct endpoint_parser *r, char *text, char *end)
{
	bool slash = *end == '/', listens = r->ports == 0;
	const char *why = NULL, *numeric = NULL;

	/* "sctp::80" has a wrong protocol, "fd00::80" a wrong separator. */
	if (!slash && strchr(end + 1, ':') &&
	    (!listens || text + strspn(text, HEX) == end))
		return "several colons: write an IPv6 address as ADDR/PORT";
	if (end == text && !listens)
		return "a target needs an address (PORT alone is loopback)";
	if (slash)
		numeric = "not a numeric address, which ADDR/PORT takes "
			  "(a UNIX socket begins with '/')";
	else if (listens)
		numeric = "neither tcp, udp, tcp+udp nor a numeric address (a "
			  "namespace is NS@PORT)";
	*end = '\0';
	r->side->kind = SIDE_ANY;
	if (*text)
		why = parse_address(r, text, numeric);
	return why ? why : parse_ports(r, end + 1);
}

const char *
endpoint_parse(struct endpoint *ep, char *text, unsigned ports,
    const char **part)
{
	struct endpoint_parser r = {ep, ports, part};
	char *slash = strrchr(text, '/'), *colon = strchr(text, ':');

	*ep = (struct endpoint){.kind = SIDE_LOOPBACK, .arg = strdup(text)};
	*part = text;
	if (!ep->arg)
		return "out of memory";
	if (!*text)
		return "an address or a port is missing";
	if (!ports && strncmp(text, "systemd:", 8) == 0) {
		ep->kind = SIDE_SYSTEMD;
		return text[8] ? dup_string(&ep->name, text + 8)
			       : "a name of sockets is missing";
	}
	if (strcmp(text, ports ? "proxy" : "-") == 0) {
		ep->kind = ports ? SIDE_PROXY : SIDE_STDIO;
		return NULL;
	}
	if (*text == '/' || *text == '@')
		return parse_unix(&r, text);
	if (*text == '[')
		return parse_bracketed(&r, text);
	if (slash || colon)
		return parse_addr_port(&r, text, slash ? slash : colon);
	if (strchr(DIGITS "-", *text) && !strchr(text, '.'))
		return parse_ports(&r, text);
	return "no port: write ADDR:PORT or NS@PORT, or PORT alone for "
	       "loopback";
}

const char *
parse_source_addr(struct endpoint *ep, char *text, const char **part)
{
	struct endpoint_parser r = {ep, 0, part};

	return parse_address(&r, text, "not a numeric address");
}

static bool
same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool
endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->kind == b->kind && same_text(a->name, b->name) &&
	    same_text(a->zone, b->zone) &&
	    memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0;
}

static const struct endpoint loopback[] = {
    {.kind = EP_IPV4, .addr.s6_addr = {127, 0, 0, 1}},
    {.kind = EP_IPV6, .addr.s6_addr = {[15] = 1}},
};

/* True if a listener hears the address, as far as words tell. */
static bool
listens_on(const struct endpoint *listen, const struct endpoint *to)
{
	bool local = to->kind == EP_IPV4 ? to->addr.s6_addr[0] == 127
					 : endpoint_equal(to, &loopback[1]);

	if (listen->kind == SIDE_ANY)
		return local;
	if (listen->kind == SIDE_LOOPBACK)
		return endpoint_equal(to, &loopback[0]) ||
		    endpoint_equal(to, &loopback[1]);
	if (listen->kind == to->kind && IN6_IS_ADDR_UNSPECIFIED(&listen->addr))
		return local;
	return endpoint_equal(listen, to);
}

bool
endpoint_leads_to(const struct endpoint *to, const struct endpoint *listen)
{
	if (to->kind == EP_UNIX_PATH || to->kind == EP_UNIX_ABSTRACT)
		return endpoint_equal(to, listen);
	if (!to->port_first || to->port_first > listen->port_last ||
	    listen->port_first > to->port_last)
		return false;
	if (to->kind == SIDE_LOOPBACK ||
	    (to->kind == SIDE_HOST && strcasecmp(to->name, "localhost") == 0))
		return listens_on(listen, &loopback[0]) ||
		    listens_on(listen, &loopback[1]);
	return to->kind != SIDE_HOST && listens_on(listen, to);
}

static bool
prefix_equal(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
	unsigned whole = bits / 8, mask = 0xff00U >> bits % 8 & 0xff;

	return memcmp(a, b, whole) == 0 &&
	    (!mask || !((a->s6_addr[whole] ^ b->s6_addr[whole]) & mask));
}

static struct in6_addr
v4_to_mapped(const void *four)
{
	struct in6_addr addr = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	memcpy(&addr.s6_addr[12], four, 4);
	return addr;
}

const char *
cidr_parse(struct cidr *cidr, char *text)
{
	char *slash = strchr(text, '/');
	struct in6_addr four;
	uint32_t bits, most = 128;
	bool good;

	if (slash)
		*slash++ = '\0';
	if (strchr(text, ':'))
		good = inet_pton(AF_INET6, text, &cidr->addr) == 1 &&
		    !IN6_IS_ADDR_V4MAPPED(&cidr->addr);
	else {
		good = inet_pton(AF_INET, text, &four) == 1;
		cidr->addr = v4_to_mapped(&four);
		most = 32;
	}
	bits = most;
	if (!good || (slash && !parse_uint(slash, 0, most, &bits)))
		return "not ADDR or ADDR/BITS (several with '+' between them)";
	cidr->bits = (uint8_t)(128 - most + bits);
	for (unsigned i = cidr->bits; i < 128; i++)
		if (cidr->addr.s6_addr[i / 8] & 0x80U >> i % 8)
			return "an address with bits set behind its /BITS";
	return NULL;
}

static bool
is_v4_cidr(const struct cidr *cidr)
{
	return cidr->bits >= 96 && IN6_IS_ADDR_V4MAPPED(&cidr->addr);
}

void
cidr_print(FILE *out, const struct cidr *cidr)
{
	char addr[INET6_ADDRSTRLEN] = "";
	bool four = is_v4_cidr(cidr);

	inet_ntop(four ? AF_INET : AF_INET6, &cidr->addr.s6_addr[four ? 12 : 0],
	    addr, sizeof(addr));
	fputs(addr, out);
	if (cidr->bits < 128)
		fprintf(out, "/%u", four ? cidr->bits - 96U : cidr->bits);
}

/* "::/0" is every IPv6 address, and no IPv4 address. */
bool
cidr_match(const struct cidr_list *list, const union sockaddr_inet *peer)
{
	struct in6_addr addr;

	if (peer->sa.sa_family == AF_INET)
		addr = v4_to_mapped(&peer->v4.sin_addr);
	else if (peer->sa.sa_family == AF_INET6)
		addr = peer->v6.sin6_addr;
	else
		return false;
	for (size_t i = 0; i < list->count; i++)
		if (is_v4_cidr(&list->items[i]) ==
			IN6_IS_ADDR_V4MAPPED(&addr) &&
		    prefix_equal(&list->items[i].addr, &addr,
			list->items[i].bits))
			return true;
	return false;
}

bool
map_allows_client(const struct map *map, const union sockaddr_inet *peer)
{
	return !cidr_match(&map->deny, peer) &&
	    (!map->allow.count || cidr_match(&map->allow, peer));
}

union sockaddr_inet
unmap_v4(const struct sockaddr_storage *addr)
{
	union sockaddr_inet peer, four;

	memcpy(&peer, addr, sizeof(peer));
	if (peer.sa.sa_family != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(&peer.v6.sin6_addr))
		return peer;
	memset(&four, 0, sizeof(four));
	four.v4.sin_family = AF_INET;
	four.v4.sin_port = peer.v6.sin6_port;
	memcpy(&four.v4.sin_addr, &peer.v6.sin6_addr.s6_addr[12], 4);
	return four;
}

void
endpoint_free(struct endpoint *ep)
{
	free(ep->arg);
	free(ep->name);
	free(ep->zone);
}

void
endpoint_print(FILE *out, const struct endpoint *ep)
{
	char addr[INET6_ADDRSTRLEN] = "";
	unsigned lo = ep->port_first, hi = ep->port_last;

	switch (ep->kind) {
	case SIDE_LOOPBACK:
		break;
	case SIDE_ANY:
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
	case SIDE_HOST:
		fprintf(out, "%s:", ep->name);
		break;
	case EP_UNIX_PATH:
		fputs(ep->name, out);
		return;
	case EP_UNIX_ABSTRACT:
		fprintf(out, "@%s", ep->name);
		return;
	case SIDE_SYSTEMD:
		fprintf(out, "systemd:%s", ep->name);
		return;
	case SIDE_PROXY:
		fputs("proxy", out);
		return;
	case SIDE_STDIO:
		fputs("-", out);
		return;
	}
	if (lo)
		fprintf(out, "%u", lo);
	if (hi != lo)
		fprintf(out, "-%u", hi);
}
