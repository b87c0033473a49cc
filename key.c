/* The keys of a map: reads, checks and prints what they set. */

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "words.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define AT(member) \
	offsetof(struct map, member), sizeof(((struct map *)0)->member)

/* poll(2) and epoll_wait(2) take a little more than 24 days. */
#define SPAN_MAX (24 * (deadline)86400000)

enum kind {
	COUNT,
	COUNT_FROM_1,
	BALANCE,
	HEADER,
	MARK,
	MODE, /* so far uint32_t */
	TIME,
	OFFLOAD,
	CIDRS,
	SRC,
	DEV,
	OWNER
};

/* The maps that take a key, bits beside those of enum proto. */
enum {
	TCP = PROTO_TCP,
	UDP = PROTO_UDP,
	BOTH = TCP | UDP,
	ALONE = 4,   /* that protocol and no other */
	LISTENS = 8, /* not on standard input */
	FILED = 16   /* on a UNIX socket with a path */
};

/* In the order in which they are printed. */
/* clang-format off */
static const struct key {
	const char *name;
	enum kind kind;
	unsigned maps;
	size_t offset, size; /* of what is compared with a default */
} keys[] = {
	{"reach", CIDRS, TCP | ALONE, AT(reach)},
	{"allow", CIDRS, BOTH | LISTENS, AT(allow)},
	{"deny", CIDRS, BOTH | LISTENS, AT(deny)},
	{"max", COUNT, TCP | LISTENS, AT(max.conns)},
	{"flows", COUNT_FROM_1, UDP, AT(max.flows)},
	{"max-source", COUNT, BOTH | LISTENS, AT(max.source)},
	{"workers", COUNT, TCP | LISTENS, AT(workers)},
	{"balance", BALANCE, BOTH, AT(balance)},
	{"proxy", HEADER, TCP | ALONE, AT(header)},
	{"accept-proxy", CIDRS, TCP | ALONE | LISTENS, AT(accept_proxy)},
	{"src", SRC, BOTH, AT(src.kind)},
	{"dev", DEV, BOTH, AT(dev)},
	{"mark", MARK, BOTH, AT(mark)},
	{"mode", MODE, TCP | FILED, AT(mode)},
	{"owner", OWNER, TCP | FILED, AT(owner)},
	{"connect-timeout", TIME, TCP, AT(times.connect)},
	{"idle-timeout", TIME, TCP, AT(times.idle)},
	{"half-close-timeout", TIME, TCP, AT(times.half_close)},
	{"udp-timeout", TIME, UDP, AT(times.answered)},
	{"udp-one-way-timeout", TIME, UDP, AT(times.one_way)},
	{"offload", OFFLOAD, UDP, AT(plain)},
};
/* clang-format on */

static const char *const balances[] = {
    [BALANCE_FIRST] = "first",
    [BALANCE_ROUND] = "round",
    [BALANCE_HASH] = "hash",
};

/* The largest first: a span is printed in the first that divides it. */
static const struct unit {
	const char *name;
	deadline span;
} units[] = {
    {"d", 86400000},
    {"h", 3600000},
    {"m", 60000},
    {"s", 1000},
    {"ms", 1},
    {"", 1000},
};

const char *
spec_count(const char *word, uint32_t least, uint32_t *count)
{
	if (side_number(word, least, 1000000, count))
		return NULL;
	return least ? "not a whole number from 1 to 1000000 (no leading 0)"
		     : "not a whole number from 0 to 1000000 (no leading 0)";
}

const char *
spec_time(const char *word, deadline *span)
{
	static const char wrong[] = "not a time in whole milliseconds, such as "
				    "10, 1.5s, 500ms, 5m, 2h or 1d";
	deadline value = 0, place = 1000; /* in thousandths of the unit */
	const struct unit *unit = units;
	const char *s = word;

	/* Far above what is right it stops growing. */
	for (; isdigit((unsigned char)*s); s++)
		if (value <= SPAN_MAX * 1000)
			value = value * 10 + (*s - '0') * place;
	if (s > word && s[0] == '.' && isdigit((unsigned char)s[1]))
		for (s++; isdigit((unsigned char)*s) && place > 1; s++) {
			place /= 10;
			value += (*s - '0') * place;
		}
	while (unit < units + LENGTH(units) && strcmp(s, unit->name) != 0)
		unit++;
	if (s == word || unit == units + LENGTH(units))
		return wrong;
	if (value / 1000 > SPAN_MAX / unit->span ||
	    value * unit->span > SPAN_MAX * 1000)
		return "longer than 24d (0 is for ever)";
	if (value * unit->span % 1000)
		return wrong;
	*span = value * unit->span / 1000;
	return NULL;
}

static const char *
parse_balance(const char *value, enum balance *balance)
{
	for (size_t i = 0; i < LENGTH(balances); i++)
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
	else if (!side_number(value, 1, UINT32_MAX, mark))
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
parse_cidrs(char *value, struct cidrs *list, const char **part)
{
	const char *why = NULL;
	struct cidr *more;
	char *item;

	while (!why && (item = strsep(&value, "+"))) {
		*part = item;
		more = realloc(list->cidr, (list->count + 1) * sizeof(*more));
		if (!more)
			return "out of memory";
		list->cidr = more;
		why = side_cidr(&more[list->count++], item);
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

static const char *
parse_value(enum kind kind, void *field, char *value, const char **part)
{
	switch (kind) {
	case COUNT:
	case COUNT_FROM_1:
		return spec_count(value, kind == COUNT_FROM_1, field);
	case BALANCE:
		return parse_balance(value, field);
	case HEADER:
		return side_number(value, 1, 2, field) ? NULL : "1 or 2";
	case MARK:
		return parse_mark(value, field);
	case MODE:
		return parse_mode(value, field);
	case TIME:
		return spec_time(value, field);
	case CIDRS:
		return parse_cidrs(value, field, part);
	case SRC:
		return side_address(field, value, part);
	case DEV:
		return side_device(field, value);
	case OWNER:
		return parse_owner(value, field);
	case OFFLOAD:
		break;
	}
	*(bool *)field = strcmp(value, "off") == 0;
	return *(bool *)field || strcmp(value, "on") == 0 ? NULL : "on or off";
}

/* Why such a map takes no such key. */
static const char *
misfit(const struct map *map, unsigned maps)
{
	if (!(map->proto & maps) || (maps & ALONE && map->proto != PROTO_TCP))
		return maps & TCP ? "a key of tcp maps only"
				  : "a key of udp maps only";
	if (maps & LISTENS && map->listen.kind == SIDE_STDIO)
		return "not for standard input";
	if (maps & FILED && map->listen.kind != SIDE_PATH)
		return "for LISTEN that is the path of a UNIX socket";
	return NULL;
}

const char *
key_parse(struct map *map, uint32_t *seen, const char *name, char *value,
    const char **part)
{
	const struct key *key = keys;
	const char *why;
	uint32_t bit;

	while (key < keys + LENGTH(keys) && strcmp(name, key->name) != 0)
		key++;
	if (key == keys + LENGTH(keys))
		return "no such key (nsfwd --help lists them)";
	bit = 1U << (key - keys);
	if (*seen & bit)
		return "a key may stand only once";
	*seen |= bit;
	why = misfit(map, key->maps);
	if (why)
		return why;
	*part = value;
	return parse_value(key->kind, (char *)map + key->offset, value, part);
}

bool
key_known(const char *name, size_t length)
{
	static const char *const others[] = {"via", "via-auth", "auth"};
	bool found = false;

	for (size_t i = 0; i < LENGTH(others); i++)
		found |= strlen(others[i]) == length &&
		    memcmp(name, others[i], length) == 0;
	for (size_t i = 0; i < LENGTH(keys); i++)
		found |= strlen(keys[i].name) == length &&
		    memcmp(name, keys[i].name, length) == 0;
	return found;
}

const char *
key_check(const struct map *map, const struct side *near)
{
	bool inet = near->kind == SIDE_INET, inet6 = near->kind == SIDE_INET6;

	if (near->text && near->kind != SIDE_HOST &&
	    (map->src.kind != SIDE_ANY || map->dev || map->mark))
		return "src, dev and mark are not for a UNIX socket";
	if ((inet && map->src.kind == SIDE_INET6) ||
	    (inet6 && map->src.kind == SIDE_INET))
		return "IPv4 and IPv6 do not meet: not from src";
	if (map->balance && map->proto != PROTO_TCP)
		return "udp knows no balance but first";
	if (map->workers > WORKERS_MAX)
		return "more than 256 workers";
	if (map->workers &&
	    (map->hops || map->header || map->accept_proxy.count ||
		near->kind == SIDE_HOST || near->kind == SIDE_PROXY))
		return "workers take numeric targets, without via, proxy and "
		       "accept-proxy";
	return NULL;
}

static void
print_time(FILE *out, deadline value)
{
	const struct unit *unit = units;

	while (value && value % unit->span)
		unit++;
	fprintf(out, "%lld%s", (long long)(value / unit->span),
	    value ? unit->name : "");
}

static void
print_cidrs(FILE *out, const struct cidrs *list)
{
	for (size_t i = 0; i < list->count; i++) {
		if (i)
			putc('+', out);
		side_print_cidr(out, &list->cidr[i]);
	}
}

static void
print_value(FILE *out, const struct key *key, const void *field)
{
	switch (key->kind) {
	case BALANCE:
		fputs(balances[*(const enum balance *)field], out);
		break;
	case TIME:
		print_time(out, *(const deadline *)field);
		break;
	case OFFLOAD:
		fputs("off", out);
		break;
	case CIDRS:
		print_cidrs(out, field);
		break;
	case SRC:
		side_print(out, field);
		break;
	case DEV:
	case OWNER:
		fputs(*(char *const *)field, out);
		break;
	default:
		fprintf(out, key->kind == MODE ? "0%o" : "%u",
		    *(const uint32_t *)field);
	}
}

void
key_print(FILE *out, const struct map *map, const struct map *base)
{
	for (const struct key *key = keys; key < keys + LENGTH(keys); key++) {
		const char *field = (const char *)map + key->offset;

		if (misfit(map, key->maps) ||
		    !memcmp(field, (const char *)base + key->offset, key->size))
			continue;
		fprintf(out, ",%s=", key->name);
		print_value(out, key, field);
	}
}
