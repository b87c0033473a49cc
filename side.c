/* Parses and prints one end of a map: an address and its ports, or a socket. */

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "nsfwd.h"

#define HOST_MAX 253
#define UNIX_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)
#define ZONE_MAX 15
#define SIDE_MAX 511 /* longer than all that is right */

#define DIGITS  "0123456789"
#define HEX     DIGITS "abcdefABCDEF"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* Parts of the text are cut off by a NUL in place of what separates them. */
struct reader {
	char *text;
	bool listens;
	struct side *side;
	struct spec_error *error;
	const char *name, *zone; /* parts that the side will own */
};

__attribute__((format(printf, 3, 4))) static int
refuse(struct reader *r, const char *part, const char *fmt, ...)
{
	va_list ap;

	r->error->column = (size_t)(part - r->text) + 1;
	r->error->length = strlen(part);
	va_start(ap, fmt);
	vsnprintf(r->error->reason, sizeof(r->error->reason), fmt, ap);
	va_end(ap);
	return -1;
}

static bool
only(const char *text, const char *set)
{
	return text[strspn(text, set)] == '\0';
}

static int
parse_port(struct reader *r, const char *part, uint16_t *port)
{
	unsigned value = 0;

	if (!*part)
		return refuse(r, part, "a port is missing");
	for (const char *s = part; *s; s++) {
		if (*s < '0' || *s > '9' || value > 6553)
			return refuse(r, part, "not a port: 1 to 65535");
		value = value * 10 + (unsigned)(*s - '0');
	}
	if (value > 65535 || *part == '0')
		return refuse(r, part, "not a port: 1 to 65535");
	*port = (uint16_t)value;
	return 0;
}

static int
parse_ports(struct reader *r, char *part)
{
	struct side *side = r->side;
	char *dash = strchr(part, '-');

	if (dash)
		*dash = '\0';
	if (parse_port(r, part, &side->lo) < 0)
		return -1;
	side->hi = side->lo;
	if (!dash)
		return 0;
	if (parse_port(r, dash + 1, &side->hi) < 0)
		return -1;
	*dash = '-';
	if (side->hi < side->lo)
		return refuse(r, part, "a range runs from low to high");
	return 0;
}

static int
parse_unix(struct reader *r)
{
	const char *name = r->text;

	r->side->kind = SIDE_PATH;
	if (*name == '@') {
		r->side->kind = SIDE_ABSTRACT;
		name++;
	}
	if (!*name)
		return refuse(r, name, "an abstract socket needs a name");
	if (strlen(name) > UNIX_MAX)
		return refuse(r, name,
		    "longer than the %zu bytes of a UNIX socket", UNIX_MAX);
	r->name = name;
	return 0;
}

/* Connecting to it would reach loopback, which is said by no address. */
static int
check_specified(struct reader *r, const char *part)
{
	static const struct in6_addr none;

	if (r->listens || memcmp(&r->side->addr, &none, sizeof(none)) != 0)
		return 0;
	return refuse(r, part,
	    "no address to connect to (PORT alone is loopback)");
}

static int
parse_zone(struct reader *r, const char *zone)
{
	size_t length = strlen(zone);

	if (length == 0 || length > ZONE_MAX ||
	    !only(zone, LETTERS DIGITS "._-+"))
		return refuse(r, zone,
		    "no interface: 1 to %d letters, digits, '.', '_', '-', '+'",
		    ZONE_MAX);
	r->zone = zone;
	return 0;
}

static int
parse_inet6(struct reader *r, char *part)
{
	struct in6_addr *addr = &r->side->addr;
	char *zone = strchr(part, '%');

	r->side->kind = SIDE_INET6;
	if (zone)
		*zone = '\0';
	if (inet_pton(AF_INET6, part, addr) != 1)
		return refuse(r, part, "not an IPv6 address");
	if (IN6_IS_ADDR_V4MAPPED(addr))
		return refuse(r, part, "write an IPv4 address as 10.0.0.1");
	if (!IN6_IS_ADDR_LINKLOCAL(addr) && zone) {
		*zone = '%';
		return refuse(r, zone,
		    "only a link-local address (fe80::) takes %%INTERFACE");
	}
	if (zone)
		return parse_zone(r, zone + 1);
	if (IN6_IS_ADDR_LINKLOCAL(addr))
		return refuse(r, part,
		    "a link-local address needs %%INTERFACE behind it");
	return check_specified(r, part);
}

/* False when the text is no IPv4 address: then nothing has changed. */
static bool
take_inet(struct side *side, const char *part)
{
	struct in_addr addr;

	if (inet_pton(AF_INET, part, &addr) != 1)
		return false;
	memcpy(&side->addr, &addr, sizeof(addr));
	side->kind = SIDE_INET;
	return true;
}

/*
 * What a resolver might take for a number in some notation of inet_aton(3):
 * every label is decimal or hexadecimal.
 */
static bool
number_like(const char *host)
{
	while (*host) {
		if (host[0] == '0' && (host[1] == 'x' || host[1] == 'X'))
			host += 2 + strspn(host + 2, HEX);
		else
			host += strspn(host, DIGITS);
		if (*host && *host++ != '.')
			return false;
	}
	return true;
}

static int
parse_host(struct reader *r, const char *part)
{
	r->side->kind = SIDE_HOST;
	if (!only(part, LETTERS DIGITS "-._"))
		return refuse(r, part,
		    "a host name is letters, digits, '-', '.' and '_'");
	if (strlen(part) > HOST_MAX)
		return refuse(r, part,
		    "longer than the %d bytes of a host name", HOST_MAX);
	if (number_like(part))
		return refuse(r, part,
		    "not an IPv4 address: four numbers, each 0 to 255");
	if (*part == '.' || strstr(part, ".."))
		return refuse(r, part, "a label of the host name is empty");
	r->name = part;
	return 0;
}

/* ADDR/PORTS */
static int
parse_slashed(struct reader *r, char *slash)
{
	*slash = '\0';
	if (strchr(r->text, ':')) {
		if (parse_inet6(r, r->text) < 0)
			return -1;
	} else if (!take_inet(r->side, r->text)) {
		return refuse(r, r->text,
		    "not a numeric address, which ADDR/PORT takes "
		    "(a UNIX socket begins with '/')");
	} else if (check_specified(r, r->text) < 0)
		return -1;
	return parse_ports(r, slash + 1);
}

/* [ADDR]:PORTS */
static int
parse_bracketed(struct reader *r)
{
	char *end = strchr(r->text, ']');

	if (!end)
		return refuse(r, r->text, "']' is missing");
	if (end[1] != ':')
		return refuse(r, end, "':PORT' must follow");
	*end = '\0';
	if (!strchr(r->text, ':'))
		return refuse(r, r->text + 1,
		    "brackets are for an IPv6 address");
	if (parse_inet6(r, r->text + 1) < 0)
		return -1;
	return parse_ports(r, end + 2);
}

/* ADDR:PORTS, :PORTS */
static int
parse_colon(struct reader *r, char *colon)
{
	if (colon == r->text && !r->listens)
		return refuse(r, r->text,
		    "a target needs an address (PORT alone is loopback)");
	*colon = '\0';
	if (colon == r->text)
		r->side->kind = SIDE_ANY;
	else if (take_inet(r->side, r->text)) {
		if (check_specified(r, r->text) < 0)
			return -1;
	} else if (r->listens) {
		return refuse(r, r->text,
		    "neither tcp, udp, tcp+udp nor a numeric address");
	} else if (parse_host(r, r->text) < 0)
		return -1;
	return parse_ports(r, colon + 1);
}

static int
parse_colons(struct reader *r, char *colon)
{
	*colon = '\0';
	if (r->listens && !only(r->text, HEX))
		return refuse(r, r->text, "no protocol: tcp, udp or tcp+udp");
	*colon = ':';
	return refuse(r, r->text,
	    "several colons: write an IPv6 address as ADDR/PORT");
}

static int
parse_bare(struct reader *r)
{
	r->side->kind = SIDE_LOOPBACK;
	if (strchr(DIGITS "-", r->text[0]) && !strchr(r->text, '.'))
		return parse_ports(r, r->text);
	return refuse(r, r->text,
	    "no port: write ADDR:PORT, or PORT alone for loopback");
}

static int
parse(struct reader *r)
{
	char *slash = strrchr(r->text, '/');
	char *colon = strchr(r->text, ':');

	if (!r->text[0])
		return refuse(r, r->text, "an address or a port is missing");
	if (r->text[0] == '/' || r->text[0] == '@')
		return parse_unix(r);
	if (r->text[0] == '[')
		return parse_bracketed(r);
	if (slash)
		return parse_slashed(r, slash);
	if (!colon)
		return parse_bare(r);
	if (strchr(colon + 1, ':'))
		return parse_colons(r, colon);
	return parse_colon(r, colon);
}

static int
keep(struct reader *r)
{
	struct side *side = r->side;

	if (r->name)
		side->text = strdup(r->name);
	if (r->zone)
		side->zone = strdup(r->zone);
	if ((!r->name || side->text) && (!r->zone || side->zone))
		return 0;
	side_free(side);
	return refuse(r, r->text, "out of memory");
}

int
side_parse(struct side *side, const char *text, size_t length, bool listens,
    struct spec_error *error)
{
	char copy[SIDE_MAX + 1] = "";
	struct reader r = {copy, listens, side, error, NULL, NULL};

	*side = (struct side){0};
	if (length > SIDE_MAX) {
		refuse(&r, copy, "too long for an address");
		error->length = length;
		return -1;
	}
	memcpy(copy, text, length);
	return parse(&r) < 0 ? -1 : keep(&r);
}

void
side_free(struct side *side)
{
	free(side->text);
	free(side->zone);
	*side = (struct side){0};
}

unsigned
side_ports(const struct side *side)
{
	return (unsigned)(side->hi - side->lo) + 1;
}

static int
print_ports(const struct side *side, const char *before, const char *between,
    char *buf, size_t size)
{
	unsigned lo = side->lo, hi = side->hi;

	if (lo == hi)
		return snprintf(buf, size, "%s%s%u", before, between, lo);
	return snprintf(buf, size, "%s%s%u-%u", before, between, lo, hi);
}

static int
print_inet6(const struct side *side, char *buf, size_t size)
{
	char addr[INET6_ADDRSTRLEN + 1 + ZONE_MAX];
	size_t used;

	inet_ntop(AF_INET6, &side->addr, addr, INET6_ADDRSTRLEN);
	used = strlen(addr);
	if (side->zone)
		snprintf(addr + used, sizeof(addr) - used, "%%%s", side->zone);
	return print_ports(side, addr, "/", buf, size);
}

int
side_print(const struct side *side, char *buf, size_t size)
{
	char addr[INET_ADDRSTRLEN];

	switch (side->kind) {
	case SIDE_LOOPBACK:
		return print_ports(side, "", "", buf, size);
	case SIDE_ANY:
		return print_ports(side, "", ":", buf, size);
	case SIDE_INET:
		inet_ntop(AF_INET, &side->addr, addr, sizeof(addr));
		return print_ports(side, addr, ":", buf, size);
	case SIDE_INET6:
		return print_inet6(side, buf, size);
	case SIDE_HOST:
		return print_ports(side, side->text, ":", buf, size);
	case SIDE_ABSTRACT:
		return snprintf(buf, size, "@%s", side->text);
	case SIDE_PATH:
		break;
	}
	return snprintf(buf, size, "%s", side->text);
}
