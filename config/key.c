/* The keys of a map, KEY=VALUE: parses, checks and prints them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/key.h"

#include "base/addr.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/nearest.h"
#include "base/text.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "config/value.h"
#include "dns/conf.h"
#include "dns/result.h"

#define UDP_PORTS_MAX 4096

#define AT(member) \
	offsetof(struct map, member), sizeof(((struct map *)0)->member)

/* The type of a value. Kinds up to MODE are stored as uint32_t. */
enum key_kind {
	COUNT,
	COUNT_FROM_1,
	WORKERS,
	BALANCE,
	SEND_PROXY,
	MARK,
	MODE,
	TIME,
	ON_OFF,
	CIDRS,
	SRC,
	PORTS,
	DEV,
	OWNER,
	SERVERS,
	USER
};

/* The maps that a key is allowed in, as bits. */
enum {
	TCP = PROTO_TCP,
	UDP = PROTO_UDP,
	BOTH = TCP | UDP,
	ONLY = 4,       /* not in a map of both protocols */
	NOT_STDIO = 8,  /* not if the listener is "-" */
	UNIX_PATH = 16, /* only if the listener is a path */
	PROXY = 32      /* also if the target is "proxy", which is of tcp */
};

/* clang-format off */

/* Keys are printed in this order. */
static const struct key {
	const char *name;
	enum key_kind kind;
	unsigned maps;
	size_t offset, size; /* of the field; a default is not printed */
} map_keys[] = {
	{"reach", CIDRS, BOTH, AT(reach)},
	{"tproxy", ON_OFF, TCP | ONLY, AT(no_tproxy)},
	{"udp-ports", PORTS, TCP | ONLY, AT(udp_ports)},
	{"udp-address", SRC, TCP | ONLY, AT(udp_address.kind)},
	{"allow", CIDRS, BOTH | NOT_STDIO, AT(allow)},
	{"deny", CIDRS, BOTH | NOT_STDIO, AT(deny)},
	{"max", COUNT, TCP | NOT_STDIO, AT(limits.conns)},
	{"flows", COUNT_FROM_1, UDP, AT(limits.flows)},
	{"max-source", COUNT, BOTH | NOT_STDIO, AT(limits.per_source)},
	{"workers", WORKERS, TCP | NOT_STDIO, AT(workers)},
	{"balance", BALANCE, BOTH, AT(balance)},
	{"proxy", SEND_PROXY, BOTH, AT(send_proxy)},
	{"proxy-netns", ON_OFF, BOTH, AT(no_proxy_netns)},
	{"proxy-each", ON_OFF, UDP, AT(no_proxy_each)},
	{"accept-proxy", CIDRS, TCP | ONLY | NOT_STDIO, AT(accept_proxy)},
	{"src", SRC, BOTH, AT(src.kind)},
	{"dev", DEV, BOTH, AT(dev)},
	{"mark", MARK, BOTH, AT(mark)},
	{"dns", SERVERS, BOTH, AT(dns)},
	{"mode", MODE, TCP | UNIX_PATH, AT(unix_mode)},
	{"owner", OWNER, TCP | UNIX_PATH, AT(owner)},
	{"user", USER, BOTH | NOT_STDIO, AT(run_as)},
	{"connect-timeout", TIME, TCP, AT(times.connect)},
	{"idle-timeout", TIME, TCP, AT(times.idle)},
	{"half-close-timeout", TIME, TCP, AT(times.half_close)},
	{"udp-timeout", TIME, UDP | PROXY, AT(times.udp)},
	{"udp-one-way-timeout", TIME, UDP, AT(times.udp_one_way)},
	{"offload", ON_OFF, UDP, AT(no_offload)},
};
/* clang-format on */

/* Other keys, which map_parse() reads. */
static const char *const other_keys[] = {"via", "via-auth", "auth"};

const char key_unknown[] = "no such key";

static const char *const balances[] = {
    [BALANCE_FIRST] = "first",
    [BALANCE_ROUND] = "round",
    [BALANCE_HASH] = "hash",
};

static const char *
parse_balance(const char *value, enum balance *balance)
{
	for (size_t i = 0; i < ARRAY_LEN(balances); i++)
		if (strcmp(value, balances[i]) == 0) {
			*balance = (enum balance)i;
			return NULL;
		}
	return "first, round or hash";
}

static const char *
parse_mark(const char *value, uint32_t *mark)
{
	const char *hex = strncmp(value, "0x", 2) == 0 ? value + 2 : "";
	size_t digits = strspn(hex, "0123456789abcdefABCDEF");

	if (digits > 0 && digits <= 8 && !hex[digits])
		*mark = (uint32_t)strtoul(hex, NULL, 16);
	else if (!parse_uint(value, 1, UINT32_MAX, mark))
		*mark = 0;
	return *mark ? NULL : "not a number from 1 to 4294967295 or 0xffffffff";
}

static const char *
parse_mode(const char *value, uint32_t *mode)
{
	size_t digits = strspn(value, "01234567");

	*mode = digits <= 4 && !value[digits]
	    ? (uint32_t)strtoul(value, NULL, 8)
	    : 0;
	return *mode && *mode <= 0777 ? NULL
				      : "not permissions in octal, 1 to 0777";
}

static const char *
parse_cidrs(char *value, struct cidr_list *list, const char **bad_part)
{
	const char *why = NULL;
	struct cidr *more;
	char *item;

	while (!why && (item = strsep(&value, "+"))) {
		*bad_part = item;
		more = realloc(list->items, (list->count + 1) * sizeof(*more));
		if (!more)
			return "out of memory";
		list->items = more;
		why = cidr_parse(&more[list->count++], item);
	}
	return why;
}

static const char *
parse_owner(const char *value, char **owner)
{
	const char *colon = strchr(value, ':');

	if (!*value || colon == value || (colon && !colon[1]))
		return "write USER or USER:GROUP, names or numbers";
	*owner = strdup(value);
	return *owner ? NULL : "out of memory";
}

/* Takes no group, because "user=USER:PASSWORD" is what a proxy's auth= takes. */
static const char *
parse_user(const char *value, char **user)
{
	if (!*value || strchr(value, ':'))
		return "write USER, a name or a number";
	*user = strdup(value);
	return *user ? NULL : "out of memory";
}

static const char *
parse_relay_ports(struct port_range *range, char *value, const char **bad_part)
{
	const char *why =
	    parse_port_range(value, &range->first, &range->last, bad_part);

	return why || range->last - range->first < UDP_PORTS_MAX
	    ? why
	    : "more than 4096 ports";
}

static const char *
parse_value(enum key_kind kind, void *field, char *value, const char **bad_part)
{
	switch (kind) {
	case COUNT:
	case COUNT_FROM_1:
		return parse_count(value, kind == COUNT_FROM_1, field);
	case WORKERS:
		return parse_workers(value, field);
	case BALANCE:
		return parse_balance(value, field);
	case SEND_PROXY:
		return parse_uint(value, 1, 2, field) ? NULL : "1 or 2";
	case MARK:
		return parse_mark(value, field);
	case MODE:
		return parse_mode(value, field);
	case TIME:
		return parse_duration(value, field);
	case CIDRS:
		return parse_cidrs(value, field, bad_part);
	case SRC:
		return parse_source_addr(field, value, bad_part);
	case PORTS:
		return parse_relay_ports(field, value, bad_part);
	case DEV:
		return parse_ifname(field, value);
	case OWNER:
		return parse_owner(value, field);
	case SERVERS:
		return dns_servers_parse(field, value, bad_part);
	case USER:
		return parse_user(value, field);
	case ON_OFF:
		break;
	}
	*(bool *)field = strcmp(value, "off") == 0;
	return *(bool *)field || strcmp(value, "on") == 0 ? NULL : "on or off";
}

/* Returns why the map cannot have a key that is allowed in `maps`, or NULL. */
static const char *
key_not_allowed(const struct map *map, unsigned maps)
{
	if (maps & PROXY && map->n_targets && map->targets->kind == EP_PROXY)
		return NULL;
	if (!(map->proto & maps) || (maps & ONLY && map->proto != PROTO_TCP))
		return maps & TCP ? "a key of tcp maps only"
				  : "a key of udp maps only";
	if (maps & NOT_STDIO && map->listen.kind == EP_STDIO)
		return "not for standard input";
	if (maps & UNIX_PATH && map->listen.kind != EP_UNIX_PATH)
		return "for LISTEN that is the path of a UNIX socket";
	return NULL;
}

void
key_add_nearest(struct nearest *n)
{
	for (size_t i = 0; i < ARRAY_LEN(map_keys); i++)
		nearest_add(n, map_keys[i].name);
	for (size_t i = 0; i < ARRAY_LEN(other_keys); i++)
		nearest_add(n, other_keys[i]);
}

const char *
key_parse(struct map *map, uint32_t *seen, const char *name, char *value,
    const char **bad_part)
{
	const struct key *key = map_keys;
	const char *why;
	uint32_t bit;

	while (key < map_keys + ARRAY_LEN(map_keys) &&
	    strcmp(name, key->name) != 0)
		key++;
	if (key == map_keys + ARRAY_LEN(map_keys))
		return key_unknown;
	bit = 1U << (key - map_keys);
	if (*seen & bit)
		return "a key may stand only once";
	*seen |= bit;
	why = key_not_allowed(map, key->maps);
	if (why)
		return why;
	*bad_part = value;
	return parse_value(key->kind, (char *)map + key->offset, value,
	    bad_part);
}

bool
key_exists(const char *name, size_t length)
{
	bool found = false;

	for (size_t i = 0; i < ARRAY_LEN(other_keys); i++)
		found |= strlen(other_keys[i]) == length &&
		    memcmp(name, other_keys[i], length) == 0;
	for (size_t i = 0; i < ARRAY_LEN(map_keys); i++)
		found |= strlen(map_keys[i].name) == length &&
		    memcmp(name, map_keys[i].name, length) == 0;
	return found;
}

const char *
key_check(const struct map *map, const struct endpoint *first_ep)
{
	bool inet = first_ep->kind == EP_IPV4,
	     inet6 = first_ep->kind == EP_IPV6;

	if (first_ep->name && first_ep->kind != EP_HOST &&
	    (map->src.kind != EP_ANY || map->dev || map->mark))
		return "src, dev and mark are not for a UNIX socket";
	if ((inet && map->src.kind == EP_IPV6) ||
	    (inet6 && map->src.kind == EP_IPV4))
		return "IPv4 and IPv6 do not meet: not from src";
	if (map->balance && map->proto != PROTO_TCP)
		return "udp knows no balance but first";
	if (map->send_proxy == 1 && map->proto != PROTO_TCP)
		return "udp takes proxy=2 only";
	if (map_is_original(map) &&
	    (map->send_proxy || map->accept_proxy.count))
		return "original takes no proxy or accept-proxy";
	if (map->dns.count && !map_has_names(map))
		return "dns is for names, and there is none to look up";
	return NULL;
}

static void
print_servers(FILE *out, const struct dns_servers *all)
{
	char text[DNS_SERVER_TEXT];

	for (unsigned i = 0; i < all->count; i++)
		fprintf(out, "%s%s", i ? "+" : "",
		    dns_server_text(&all->server[i], text));
}

static void
print_cidrs(FILE *out, const struct cidr_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		if (i)
			putc('+', out);
		cidr_print(out, &list->items[i]);
	}
}

static void
print_ports(FILE *out, const struct port_range *range)
{
	fprintf(out, "%u", range->first);
	if (range->last != range->first)
		fprintf(out, "-%u", range->last);
}

static void
print_value(FILE *out, const struct key *key, const void *field)
{
	switch (key->kind) {
	case BALANCE:
		fputs(balances[*(const enum balance *)field], out);
		break;
	case TIME:
		duration_print(out, *(const msec *)field);
		break;
	case ON_OFF:
		fputs("off", out);
		break;
	case CIDRS:
		print_cidrs(out, field);
		break;
	case SRC:
		endpoint_print(out, field);
		break;
	case PORTS:
		print_ports(out, field);
		break;
	case SERVERS:
		print_servers(out, field);
		break;
	case DEV:
	case OWNER:
	case USER:
		fputs(*(char *const *)field, out);
		break;
	default:
		fprintf(out, key->kind == MODE ? "0%o" : "%u",
		    *(const uint32_t *)field);
	}
}

void
key_print(FILE *out, const struct map *map, const struct map *builtin)
{
	for (const struct key *key = map_keys;
	     key < map_keys + ARRAY_LEN(map_keys); key++) {
		const char *field = (const char *)map + key->offset;

		if (key_not_allowed(map, key->maps) ||
		    !memcmp(field, (const char *)builtin + key->offset,
			key->size))
			continue;
		fprintf(out, ",%s=", key->name);
		print_value(out, key, field);
	}
}
