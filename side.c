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
struct reader {
	struct side *side;
	unsigned ports; /* that listen; 0: this is the side that does */
	const char **part;
};

/* A 0 in front might be meant as octal: it is refused. */
bool
side_number(const char *text, uint32_t least, uint32_t most, uint32_t *value)
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
keep(char **field, const char *text)
{
	*field = strdup(text);
	return *field ? NULL : "out of memory";
}

/* N or N-M */
static const char *
parse_ports(struct reader *r, char *part)
{
	static const char wrong[] = "not a port: 1 to 65535";
	char *dash = strchr(part, '-'), *high = dash ? dash + 1 : part;
	uint32_t lo, hi;

	if (dash)
		*dash = '\0';
	*r->part = part;
	if (!side_number(part, 1, UINT16_MAX, &lo))
		return wrong;
	*r->part = high;
	if (!side_number(high, 1, UINT16_MAX, &hi))
		return wrong;
	if (dash)
		*dash = '-';
	*r->part = part;
	if (hi < lo)
		return "a range runs from low to high";
	if (r->ports && hi != lo && hi - lo + 1 != r->ports)
		return "a target has one port, or as many as listen";
	r->side->lo = (uint16_t)lo;
	r->side->hi = (uint16_t)hi;
	return NULL;
}

static const char *
parse_unix(struct reader *r, const char *name)
{
	r->side->kind = SIDE_PATH;
	if (*name == '@') {
		r->side->kind = SIDE_ABSTRACT;
		name++;
	}
	*r->part = name;
	if (!*name)
		return "an abstract socket needs a name";
	if (strlen(name) > UNIX_MAX)
		return "longer than the 107 bytes of a UNIX socket";
	return keep(&r->side->text, name);
}

const char *
side_device(char **device, const char *text)
{
	if (!*text || strlen(text) > ZONE_MAX ||
	    text[strspn(text, LETTERS DIGITS "._-+")])
		return "no interface: 1 to 15 letters, digits, '.', '_', '-', "
		       "'+'";
	return keep(device, text);
}

static const char *
parse_inet6(struct reader *r, char *part)
{
	struct in6_addr *addr = &r->side->addr;
	char *zone = strchr(part, '%');

	r->side->kind = SIDE_INET6;
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
	return side_device(&r->side->zone, zone);
}

/*
 * What a resolver might take for a number in some notation of inet_aton(3):
 * every label is decimal or hexadecimal.
 */
static bool
number_like(const char *s)
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
parse_host(struct reader *r, const char *part)
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
	if (number_like(part))
		return "not an IPv4 address: four numbers, each 0 to 255";
	return keep(&r->side->text, part);
}

/* A host name will do where numeric does not say why it must be a number. */
static const char *
parse_address(struct reader *r, char *part, const char *numeric)
{
	struct in6_addr *addr = &r->side->addr;
	const char *why = NULL;

	*r->part = part;
	if (strchr(part, ':'))
		why = parse_inet6(r, part);
	else if (inet_pton(AF_INET, part, addr) == 1)
		r->side->kind = SIDE_INET;
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
parse_bracketed(struct reader *r, char *text)
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
parse_pair(struct reader *r, char *text, char *end)
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
side_parse(struct side *side, char *text, unsigned ports, const char **part)
{
	struct reader r = {side, ports, part};
	char *slash = strrchr(text, '/'), *colon = strchr(text, ':');

	*side = (struct side){.kind = SIDE_LOOPBACK, .word = strdup(text)};
	*part = text;
	if (!side->word)
		return "out of memory";
	if (!*text)
		return "an address or a port is missing";
	if (!ports && strncmp(text, "systemd:", 8) == 0) {
		side->kind = SIDE_SYSTEMD;
		return text[8] ? keep(&side->text, text + 8)
			       : "a name of sockets is missing";
	}
	if (strcmp(text, ports ? "proxy" : "-") == 0) {
		side->kind = ports ? SIDE_PROXY : SIDE_STDIO;
		return NULL;
	}
	if (*text == '/' || *text == '@')
		return parse_unix(&r, text);
	if (*text == '[')
		return parse_bracketed(&r, text);
	if (slash || colon)
		return parse_pair(&r, text, slash ? slash : colon);
	if (strchr(DIGITS "-", *text) && !strchr(text, '.'))
		return parse_ports(&r, text);
	return "no port: write ADDR:PORT or NS@PORT, or PORT alone for "
	       "loopback";
}

const char *
side_address(struct side *side, char *text, const char **part)
{
	struct reader r = {side, 0, part};

	return parse_address(&r, text, "not a numeric address");
}

static bool
same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool
side_same(const struct side *a, const struct side *b)
{
	return a->kind == b->kind && same_text(a->text, b->text) &&
	    same_text(a->zone, b->zone) &&
	    memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0;
}

static const struct side loopback[] = {
    {.kind = SIDE_INET, .addr.s6_addr = {127, 0, 0, 1}},
    {.kind = SIDE_INET6, .addr.s6_addr = {[15] = 1}},
};

/* True if a listener hears the address, as far as words tell. */
static bool
hears(const struct side *listen, const struct side *to)
{
	bool local = to->kind == SIDE_INET ? to->addr.s6_addr[0] == 127
					   : side_same(to, &loopback[1]);

	if (listen->kind == SIDE_ANY)
		return local;
	if (listen->kind == SIDE_LOOPBACK)
		return side_same(to, &loopback[0]) ||
		    side_same(to, &loopback[1]);
	if (listen->kind == to->kind && IN6_IS_ADDR_UNSPECIFIED(&listen->addr))
		return local;
	return side_same(listen, to);
}

bool
side_leads(const struct side *to, const struct side *listen)
{
	if (to->kind == SIDE_PATH || to->kind == SIDE_ABSTRACT)
		return side_same(to, listen);
	if (!to->lo || to->lo > listen->hi || listen->lo > to->hi)
		return false;
	if (to->kind == SIDE_LOOPBACK ||
	    (to->kind == SIDE_HOST && strcasecmp(to->text, "localhost") == 0))
		return hears(listen, &loopback[0]) ||
		    hears(listen, &loopback[1]);
	return to->kind != SIDE_HOST && hears(listen, to);
}

static bool
same_prefix(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
	unsigned whole = bits / 8, mask = 0xff00U >> bits % 8 & 0xff;

	return memcmp(a, b, whole) == 0 &&
	    (!mask || !((a->s6_addr[whole] ^ b->s6_addr[whole]) & mask));
}

static struct in6_addr
mapped(const void *four)
{
	struct in6_addr addr = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	memcpy(&addr.s6_addr[12], four, 4);
	return addr;
}

const char *
side_cidr(struct cidr *cidr, char *text)
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
		cidr->addr = mapped(&four);
		most = 32;
	}
	bits = most;
	if (!good || (slash && !side_number(slash, 0, most, &bits)))
		return "not ADDR or ADDR/BITS (several with '+' between them)";
	cidr->bits = (uint8_t)(128 - most + bits);
	for (unsigned i = cidr->bits; i < 128; i++)
		if (cidr->addr.s6_addr[i / 8] & 0x80U >> i % 8)
			return "an address with bits set behind its /BITS";
	return NULL;
}

static bool
is_four(const struct cidr *cidr)
{
	return cidr->bits >= 96 && IN6_IS_ADDR_V4MAPPED(&cidr->addr);
}

void
side_print_cidr(FILE *out, const struct cidr *cidr)
{
	char addr[INET6_ADDRSTRLEN] = "";
	bool four = is_four(cidr);

	inet_ntop(four ? AF_INET : AF_INET6, &cidr->addr.s6_addr[four ? 12 : 0],
	    addr, sizeof(addr));
	fputs(addr, out);
	if (cidr->bits < 128)
		fprintf(out, "/%u", four ? cidr->bits - 96U : cidr->bits);
}

/* "::/0" is every IPv6 address, and no IPv4 address. */
bool
side_match(const struct cidrs *list, const union peer *peer)
{
	struct in6_addr addr;

	if (peer->any.sa_family == AF_INET)
		addr = mapped(&peer->four.sin_addr);
	else if (peer->any.sa_family == AF_INET6)
		addr = peer->six.sin6_addr;
	else
		return false;
	for (size_t i = 0; i < list->count; i++)
		if (is_four(&list->cidr[i]) == IN6_IS_ADDR_V4MAPPED(&addr) &&
		    same_prefix(&list->cidr[i].addr, &addr, list->cidr[i].bits))
			return true;
	return false;
}

bool
side_admits(const struct map *map, const union peer *peer)
{
	return !side_match(&map->deny, peer) &&
	    (!map->allow.count || side_match(&map->allow, peer));
}

union peer
side_peer(const struct sockaddr_storage *addr)
{
	union peer peer, four;

	memcpy(&peer, addr, sizeof(peer));
	if (peer.any.sa_family != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(&peer.six.sin6_addr))
		return peer;
	memset(&four, 0, sizeof(four));
	four.four.sin_family = AF_INET;
	four.four.sin_port = peer.six.sin6_port;
	memcpy(&four.four.sin_addr, &peer.six.sin6_addr.s6_addr[12], 4);
	return four;
}

void
side_free(struct side *side)
{
	free(side->word);
	free(side->text);
	free(side->zone);
}

void
side_print(FILE *out, const struct side *side)
{
	char addr[INET6_ADDRSTRLEN] = "";
	unsigned lo = side->lo, hi = side->hi;

	switch (side->kind) {
	case SIDE_LOOPBACK:
		break;
	case SIDE_ANY:
		fputs(":", out);
		break;
	case SIDE_INET:
		inet_ntop(AF_INET, &side->addr, addr, sizeof(addr));
		fprintf(out, "%s%s", addr, lo ? ":" : "");
		break;
	case SIDE_INET6:
		inet_ntop(AF_INET6, &side->addr, addr, sizeof(addr));
		fprintf(out, "%s%s%s%s", addr, side->zone ? "%" : "",
		    side->zone ? side->zone : "", lo ? "/" : "");
		break;
	case SIDE_HOST:
		fprintf(out, "%s:", side->text);
		break;
	case SIDE_PATH:
		fputs(side->text, out);
		return;
	case SIDE_ABSTRACT:
		fprintf(out, "@%s", side->text);
		return;
	case SIDE_SYSTEMD:
		fprintf(out, "systemd:%s", side->text);
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
