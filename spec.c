/* Parses, checks and prints a map. */

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "nsfwd.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

#define TARGETS_MAX 64
#define SHOWN_MAX   160

/* poll(2) and epoll_wait(2) take a little more than 24 days. */
#define SPAN_MAX (24 * (deadline)86400000)

/*
 * The word is taken to pieces in place: a NUL ends a part. A parser returns
 * NULL, or why it refuses what part then points to.
 */
struct parser {
	struct map *map;
	const char *part;
	unsigned seen; /* the keys so far, a bit for each */
};

#define BOTH       (PROTO_TCP | PROTO_UDP)
#define AT(member) offsetof(struct map, member)

static const char *const protos[] = {
    [PROTO_TCP] = "tcp:",
    [PROTO_UDP] = "udp:",
    [BOTH] = "tcp+udp:",
};

enum key_kind {
	KEY_COUNT,
	KEY_TIME,
	KEY_BALANCE,
	KEY_OFFLOAD
};

/* In the order in which they are printed. */
static const struct key {
	const char *name;
	enum key_kind kind;
	unsigned proto; /* the maps that take it */
	uint32_t least; /* of a count */
	size_t offset;  /* into struct map */
} keys[] = {
    {"max", KEY_COUNT, PROTO_TCP, 0, AT(max.conns)},
    {"flows", KEY_COUNT, PROTO_UDP, 1, AT(max.flows)},
    {"max-source", KEY_COUNT, BOTH, 0, AT(max.source)},
    {"connect-timeout", KEY_TIME, PROTO_TCP, 0, AT(times.connect)},
    {"idle-timeout", KEY_TIME, PROTO_TCP, 0, AT(times.idle)},
    {"half-close-timeout", KEY_TIME, PROTO_TCP, 0, AT(times.half_close)},
    {"udp-timeout", KEY_TIME, PROTO_UDP, 0, AT(times.answered)},
    {"udp-one-way-timeout", KEY_TIME, PROTO_UDP, 0, AT(times.one_way)},
    {"offload", KEY_OFFLOAD, PROTO_UDP, 0, AT(plain)},
    {"balance", KEY_BALANCE, BOTH, 0, 0},
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

/* Moves a protocol from the front of the word into *proto. */
static char *
skip_proto(char *word, unsigned *proto)
{
	for (unsigned i = PROTO_TCP; i <= BOTH; i++) {
		size_t length = strlen(protos[i]);

		if (strncmp(word, protos[i], length) == 0) {
			*proto = i;
			return word + length;
		}
	}
	return word;
}

/*
 * Moves NS@ from the front of *text into *ns; where that is settled, it must be
 * the same. An '@' in front is an abstract socket's.
 */
static const char *
take_ns(struct parser *p, char **text, struct ns *ns, bool settled)
{
	char *word = *text, *at = strchr(word, '@');
	struct ns given;
	const char *why;

	if (!at || (at == word && !strchr(word + 1, '@')))
		return NULL;
	p->part = word;
	if (at == word)
		return "an abstract name with '@' in it: write NS@ in front";
	*at = '\0';
	*text = at + 1;
	why = ns_parse(&given, word);
	if (!why && settled && !ns_same(&given, ns))
		why = "all targets of a map share one namespace";
	ns_free(why ? &given : ns);
	if (!why)
		*ns = given;
	return why;
}

/* No ports: the side that listens. The first target settles its namespace. */
static const char *
parse_side(struct parser *p, char *text, struct side *side, unsigned ports)
{
	struct map *map = p->map;
	struct ns *ns = ports ? &map->to : &map->from;
	const char *why = take_ns(p, &text, ns, map->targets > 1);

	if (!why)
		why = side_parse(side, text, ports, &p->part);
	if (why)
		return why;
	p->part = text;
	if (side->lo == 0 && map->proto & PROTO_UDP)
		return "a UNIX socket takes tcp only";
	return NULL;
}

static const char *
parse_target(struct parser *p, char *text)
{
	struct map *map = p->map;
	unsigned ports = (unsigned)(map->listen.hi - map->listen.lo) + 1;

	p->part = text;
	if (p->seen)
		return "not KEY=VALUE (targets come first)";
	if (map->targets == TARGETS_MAX)
		return "more than 64 targets";
	return parse_side(p, text, &map->target[map->targets++], ports);
}

static const char *
parse_value(const struct key *key, void *field, const char *value)
{
	switch (key->kind) {
	case KEY_COUNT:
		return spec_count(value, key->least, field);
	case KEY_TIME:
		return spec_time(value, field);
	case KEY_OFFLOAD:
		*(bool *)field = strcmp(value, "off") == 0;
		if (*(bool *)field || strcmp(value, "on") == 0)
			return NULL;
		return "on or off";
	case KEY_BALANCE:
		break;
	}
	return strcmp(value, "first") == 0 ? NULL : "the only balance is first";
}

static const char *
parse_key(struct parser *p, const char *name, char *value)
{
	const struct key *key = keys;
	unsigned bit;

	*value++ = '\0';
	p->part = name;
	while (key < keys + LENGTH(keys) && strcmp(name, key->name) != 0)
		key++;
	if (key == keys + LENGTH(keys))
		return "no such key (nsfwd --help lists them)";
	bit = 1u << (key - keys);
	if (p->map->targets == 0)
		return "no target in front of KEY=VALUE";
	if (p->seen & bit)
		return "a key may stand only once";
	if (!(p->map->proto & key->proto))
		return key->proto == PROTO_UDP ? "a key of udp maps only"
					       : "a key of tcp maps only";
	p->seen |= bit;
	p->part = value;
	return parse_value(key, (char *)p->map + key->offset, value);
}

/* A space would end the word in a config file and in the log. */
static const char *
check_bytes(struct parser *p)
{
	for (char *s = p->map->word; *s; s++) {
		if (!iscntrl((unsigned char)*s) && *s != ' ')
			continue;
		s[1] = '\0';
		p->part = s;
		return "white space or a control byte: a map is one word";
	}
	return NULL;
}

/* The name of a key is no part of an address. */
static const char *
parse_word(struct parser *p)
{
	char *rest, *item, *value;
	const char *why = check_bytes(p);

	if (why)
		return why;
	rest = skip_proto(p->map->word, &p->map->proto);
	item = strsep(&rest, "=");
	p->part = item;
	if (!rest)
		return "no target: write LISTEN=TARGET";
	why = parse_side(p, item, &p->map->listen, 0);
	while (!why && (item = strsep(&rest, ","))) {
		value = strpbrk(item, "=/@:");
		if (value && *value == '=')
			why = parse_key(p, item, value);
		else
			why = parse_target(p, item);
	}
	return why;
}

const char *
spec_parse(struct map *map, const char *word, const struct map *usual,
    const char **part, int *length)
{
	struct parser p = {.map = map};
	const char *why = "out of memory";

	*map = (struct map){
	    .word = strdup(word),
	    .proto = PROTO_TCP,
	    .target = calloc(TARGETS_MAX, sizeof(*map->target)),
	    .times = usual->times,
	    .max = usual->max,
	    .workers = usual->workers,
	};
	*part = word;
	*length = 0;
	if (map->word && map->target &&
	    ns_copy(&map->from, &usual->from) == 0 &&
	    ns_copy(&map->to, &usual->to) == 0) {
		/* The map keeps the word as it was. */
		p.part = map->word;
		why = parse_word(&p);
		*part = word + (p.part - map->word);
		*length = (int)strnlen(p.part, SHOWN_MAX);
		memcpy(map->word, word, strlen(word));
	}
	if (why)
		spec_free(map);
	return why;
}

void
spec_free(struct map *map)
{
	for (size_t i = 0; i < map->targets; i++)
		side_free(&map->target[i]);
	free(map->target);
	side_free(&map->listen);
	ns_free(&map->from);
	ns_free(&map->to);
	free(map->word);
	*map = (struct map){0};
}

/* A name of a socket that holds an '@' must not be taken for a namespace. */
static void
print_side(FILE *out, const struct side *side, const struct ns *ns,
    bool elsewhere)
{
	if (elsewhere || (side->text && strchr(side->text, '@')))
		fprintf(out, "%s@", ns_word(ns));
	side_print(out, side);
}

/* What a key is set to, as a number. */
static deadline
value_of(const struct key *key, const struct map *map)
{
	const void *field = (const char *)map + key->offset;

	switch (key->kind) {
	case KEY_COUNT:
		return *(const uint32_t *)field;
	case KEY_TIME:
		return *(const deadline *)field;
	case KEY_OFFLOAD:
		return *(const bool *)field;
	case KEY_BALANCE:
		break;
	}
	return 0;
}

static void
print_key(FILE *out, const struct key *key, deadline value)
{
	const struct unit *unit = units;

	fprintf(out, ",%s=", key->name);
	if (key->kind == KEY_OFFLOAD)
		fputs("off", out);
	else if (key->kind == KEY_COUNT || value == 0)
		fprintf(out, "%lld", (long long)value);
	else {
		while (value % unit->span)
			unit++;
		fprintf(out, "%lld%s", (long long)(value / unit->span),
		    unit->name);
	}
}

/*
 * "tcp:" is left out, unless a namespace in front might be taken for a
 * protocol or a comment.
 */
void
spec_print(FILE *out, const struct map *map, const struct map *base)
{
	bool named = map->from.kind == NS_NAME || map->from.kind == NS_PATH;

	if (map->proto != PROTO_TCP || (named && strpbrk(map->from.text, ":#")))
		fputs(protos[map->proto], out);
	print_side(out, &map->listen, &map->from,
	    !ns_same(&map->from, &base->from));
	for (size_t i = 0; i < map->targets; i++) {
		fputs(i ? "," : "=", out);
		print_side(out, &map->target[i], &map->to,
		    i == 0 && !ns_same(&map->to, &base->to));
	}
	for (const struct key *key = keys; key < keys + LENGTH(keys); key++)
		if (map->proto & key->proto &&
		    value_of(key, map) != value_of(key, base))
			print_key(out, key, value_of(key, map));
}
