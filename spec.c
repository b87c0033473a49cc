/* Parses, checks and prints a map; makes no system call. */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "nsfwd.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

#define TARGETS_MAX 64
#define COUNT_MAX   1000000

/* poll(2) and epoll_wait(2) take a little more than 24 days. */
#define SPAN_MAX (24 * (deadline)86400000)

/* A part of a word. */
struct span {
	const char *at;
	size_t length;
};

struct parser {
	const char *word;
	const struct defaults *defaults;
	struct map *map;
	struct spec_error *error;
	unsigned seen; /* the keys so far, a bit for each */
};

/* What is printed, as with snprintf(3): used may exceed size. */
struct output {
	char *buf;
	size_t size, used;
};

static const struct {
	const char *prefix;
	unsigned proto;
} protos[] = {
    {"tcp:", PROTO_TCP},
    {"udp:", PROTO_UDP},
    {"tcp+udp:", PROTO_TCP | PROTO_UDP},
};

enum key_kind {
	KEY_COUNT,
	KEY_TIME,
	KEY_BALANCE
};

/* In the order in which they are printed. */
static const struct key {
	const char *name;
	enum key_kind kind;
	size_t offset; /* into struct map */
} keys[] = {
    {"max", KEY_COUNT, offsetof(struct map, max.conns)},
    {"max-source", KEY_COUNT, offsetof(struct map, max.source)},
    {"connect-timeout", KEY_TIME, offsetof(struct map, times.connect)},
    {"idle-timeout", KEY_TIME, offsetof(struct map, times.idle)},
    {"half-close-timeout", KEY_TIME, offsetof(struct map, times.half_close)},
    {"balance", KEY_BALANCE, 0},
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
};

static bool
same(struct span a, const char *b)
{
	return a.length == strlen(b) && memcmp(a.at, b, a.length) == 0;
}

static bool
has(struct span text, char c)
{
	return memchr(text.at, c, text.length) != NULL;
}

static struct span
skip(struct span text, size_t n)
{
	return (struct span){text.at + n, text.length - n};
}

/* Moves *head up to the first c out of *rest; all of it, where there is none. */
static bool
cut(struct span *rest, char c, struct span *head)
{
	const char *at = memchr(rest->at, c, rest->length);

	*head = *rest;
	if (at)
		head->length = (size_t)(at - rest->at);
	*rest = skip(*rest, head->length + (at != NULL));
	return at != NULL;
}

__attribute__((format(printf, 3, 4))) static int
refuse(struct parser *p, struct span part, const char *fmt, ...)
{
	va_list ap;

	p->error->column = (size_t)(part.at - p->word) + 1;
	p->error->length = part.length;
	va_start(ap, fmt);
	vsnprintf(p->error->reason, sizeof(p->error->reason), fmt, ap);
	va_end(ap);
	return -1;
}

/* Moves the digits in front out of *rest; *value stops growing far up. */
static size_t
take_digits(struct span *rest, int64_t *value)
{
	size_t n = 0;

	*value = 0;
	while (n < rest->length && rest->at[n] >= '0' && rest->at[n] <= '9') {
		if (*value < INT64_MAX / 100)
			*value = *value * 10 + (rest->at[n] - '0');
		n++;
	}
	*rest = skip(*rest, n);
	return n;
}

int
spec_count(const char *word, size_t length, uint32_t lo, uint32_t hi,
    uint32_t *count, const char **why)
{
	struct span rest = {word, length};
	int64_t value;
	size_t n = take_digits(&rest, &value);

	*why = "not a whole number";
	if (n == 0 || rest.length)
		return -1;
	*why = "a number does not begin with 0";
	if (n > 1 && word[0] == '0')
		return -1;
	*why = value < lo ? "too small" : "too large";
	if (value < lo || value > hi)
		return -1;
	*count = (uint32_t)value;
	return 0;
}

/* The span of a unit, seconds where it has no name; 0 when there is none. */
static deadline
find_unit(struct span name)
{
	if (name.length == 0)
		return 1000;
	for (size_t i = 0; i < LENGTH(units); i++)
		if (same(name, units[i].name))
			return units[i].span;
	return 0;
}

/* Moves ".N" out of *rest. False when it is not there in full or too fine. */
static bool
take_decimals(struct span *rest, int64_t *thousandths)
{
	size_t n;

	*rest = skip(*rest, 1);
	n = take_digits(rest, thousandths);
	if (n == 0 || n > 3)
		return false;
	for (; n < 3; n++)
		*thousandths *= 10;
	return true;
}

int
spec_time(const char *word, size_t length, deadline *span, const char **why)
{
	struct span rest = {word, length};
	int64_t whole, thousandths = 0;
	deadline unit;

	*why = "not a time, such as 10, 1.5s, 500ms, 5m, 2h or 1d";
	if (take_digits(&rest, &whole) == 0)
		return -1;
	if (rest.length && rest.at[0] == '.' &&
	    !take_decimals(&rest, &thousandths))
		return -1;
	unit = find_unit(rest);
	if (unit == 0)
		return -1;
	*why = "finer than a millisecond";
	if (thousandths * unit % 1000)
		return -1;
	*why = "longer than 24d (0 is for ever)";
	if (whole > SPAN_MAX / unit)
		return -1;
	whole = whole * unit + thousandths * unit / 1000;
	if (whole > SPAN_MAX)
		return -1;
	*span = whole;
	return 0;
}

/* A space would end the word in a config file and in the log. */
static int
parse_bytes(struct parser *p)
{
	for (const char *s = p->word; *s; s++) {
		if (*s == ' ' || (*s >= '\t' && *s <= '\r'))
			return refuse(p, (struct span){s, 1},
			    "white space: a map is one word");
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return refuse(p, (struct span){s, 1}, "control byte");
	}
	return 0;
}

/* The length of the protocol in front of a text, 0 where there is none. */
static size_t
match_proto(const char *text, unsigned *proto)
{
	for (size_t i = 0; i < LENGTH(protos); i++) {
		size_t length = strlen(protos[i].prefix);

		if (strncmp(text, protos[i].prefix, length) == 0) {
			*proto = protos[i].proto;
			return length;
		}
	}
	return 0;
}

/*
 * Moves NS@ out of *side into *ns: 1 when it was there, 0 when not. An '@' in
 * front is an abstract socket's.
 */
static int
take_ns(struct parser *p, struct span *side, struct ns *ns)
{
	struct span head, rest = *side;
	const char *why;

	if (side->length && side->at[0] == '@') {
		rest = skip(rest, 1);
		if (!has(rest, '@'))
			return 0;
		return refuse(p, *side,
		    "an abstract name with '@' in it: write NS@ in front");
	}
	if (!cut(&rest, '@', &head))
		return 0;
	why = ns_parse(ns, head.at, head.length);
	if (why)
		return refuse(p, head, "%s", why);
	*side = rest;
	return 1;
}

static int
parse_place(struct parser *p, struct span text, struct side *side)
{
	bool listens = side == &p->map->listen;
	size_t before = (size_t)(text.at - p->word);

	if (side_parse(side, text.at, text.length, listens, p->error) < 0) {
		p->error->column += before;
		return -1;
	}
	if (side->lo == 0 && p->map->proto & PROTO_UDP)
		return refuse(p, text, "a UNIX socket takes tcp only");
	return 0;
}

static int
parse_listen(struct parser *p, struct span text)
{
	struct ns *from = &p->map->from;
	int given = take_ns(p, &text, from);

	if (given < 0)
		return -1;
	if (!given && ns_copy(from, &p->defaults->from) < 0)
		return refuse(p, text, "out of memory");
	return parse_place(p, text, &p->map->listen);
}

/* The first target settles the namespace for all. */
static int
parse_target_ns(struct parser *p, struct span *text)
{
	struct map *map = p->map;
	struct span word = *text;
	struct ns ns = {.kind = NS_SELF};
	int given = take_ns(p, text, &ns);
	bool agreed;

	if (given < 0)
		return -1;
	if (map->targets == 0 && given) {
		map->to = ns;
		return 0;
	}
	if (map->targets == 0 && ns_copy(&map->to, &p->defaults->to) < 0)
		return refuse(p, *text, "out of memory");
	agreed = !given || ns_same(&ns, &map->to);
	ns_free(&ns);
	if (agreed)
		return 0;
	word.length -= text->length + 1;
	return refuse(p, word, "all targets of a map share one namespace");
}

static struct side *
add_target(struct map *map)
{
	size_t size = (map->targets + 1) * sizeof(*map->target);
	struct side *target = realloc(map->target, size);

	if (!target)
		return NULL;
	map->target = target;
	target += map->targets++;
	*target = (struct side){0};
	return target;
}

static int
parse_target(struct parser *p, struct span text)
{
	const struct side *listen = &p->map->listen;
	struct side *side;

	if (p->seen)
		return refuse(p, text, "not KEY=VALUE (targets come first)");
	if (p->map->targets == TARGETS_MAX)
		return refuse(p, text, "more than %d targets", TARGETS_MAX);
	if (parse_target_ns(p, &text) < 0)
		return -1;
	side = add_target(p->map);
	if (!side)
		return refuse(p, text, "out of memory");
	if (parse_place(p, text, side) < 0)
		return -1;
	if (side_ports(side) == 1 || side_ports(side) == side_ports(listen))
		return 0;
	return refuse(p, text, "%u ports for %u that listen: as many, or one",
	    side_ports(side), side_ports(listen));
}

static int
parse_value(struct parser *p, const struct key *key, struct span value)
{
	void *field = (char *)p->map + key->offset;
	const char *why = "the only balance is first";
	int result = -1;

	switch (key->kind) {
	case KEY_COUNT:
		result = spec_count(value.at, value.length, 0, COUNT_MAX, field,
		    &why);
		break;
	case KEY_TIME:
		result = spec_time(value.at, value.length, field, &why);
		break;
	case KEY_BALANCE:
		result = same(value, "first") ? 0 : -1;
		break;
	}
	if (result == 0)
		return 0;
	if (key->kind == KEY_COUNT)
		return refuse(p, value, "%s (0 to %d)", why, COUNT_MAX);
	return refuse(p, value, "%s", why);
}

static int
parse_key(struct parser *p, struct span name, struct span value)
{
	for (size_t i = 0; i < LENGTH(keys); i++) {
		if (!same(name, keys[i].name))
			continue;
		if (p->seen & 1u << i)
			return refuse(p, name, "a key may stand only once");
		p->seen |= 1u << i;
		return parse_value(p, &keys[i], value);
	}
	return refuse(p, name, "no such key (nsfwd --help lists them)");
}

/* What stands between two commas. The name of a key is no part of an address. */
static int
parse_item(struct parser *p, struct span item)
{
	struct span name, value = item;

	if (cut(&value, '=', &name) && !has(name, '/') && !has(name, '@') &&
	    !has(name, ':'))
		return parse_key(p, name, value);
	return parse_target(p, item);
}

static int
parse_items(struct parser *p, struct span text)
{
	struct span item, rest = text;
	bool more;

	do {
		more = cut(&rest, ',', &item);
		if (parse_item(p, item) < 0)
			return -1;
	} while (more);
	if (p->map->targets == 0)
		return refuse(p, text, "no target in front of KEY=VALUE");
	return 0;
}

static int
parse_word(struct parser *p)
{
	struct span listen, rest = {p->word, strlen(p->word)};

	if (parse_bytes(p) < 0)
		return -1;
	rest = skip(rest, match_proto(p->word, &p->map->proto));
	if (!cut(&rest, '=', &listen))
		return refuse(p, listen, "no target: write LISTEN=TARGET");
	if (parse_listen(p, listen) < 0)
		return -1;
	return parse_items(p, rest);
}

int
spec_parse(struct map *map, const char *word, const struct defaults *defaults,
    struct spec_error *error)
{
	struct parser p = {word, defaults, map, error, 0};
	int result;

	*map = (struct map){
	    .word = strdup(word),
	    .proto = PROTO_TCP,
	    .times = defaults->times,
	    .max = defaults->max,
	};
	if (map->word)
		result = parse_word(&p);
	else
		result = refuse(&p, (struct span){word, 0}, "out of memory");
	if (result < 0)
		spec_free(map);
	return result;
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

static char *
end(const struct output *out)
{
	return out->used < out->size ? out->buf + out->used : NULL;
}

static size_t
room(const struct output *out)
{
	return out->used < out->size ? out->size - out->used : 0;
}

__attribute__((format(printf, 2, 3))) static void
put(struct output *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	out->used += (size_t)vsnprintf(end(out), room(out), fmt, ap);
	va_end(ap);
}

/* A name of a socket that holds an '@' must not be taken for a namespace. */
static void
put_side(struct output *out, const struct side *side, const struct ns *ns,
    bool elsewhere)
{
	if (elsewhere || (side->text && strchr(side->text, '@'))) {
		out->used += (size_t)ns_print(ns, end(out), room(out));
		put(out, "@");
	}
	out->used += (size_t)side_print(side, end(out), room(out));
}

/*
 * "tcp:" is left out, unless the word would begin with what a protocol or a
 * comment begins with: a namespace may be called so.
 */
static void
put_proto(struct output *out, unsigned proto, const struct ns *from)
{
	const char *name = from->text;
	unsigned other;

	if (proto == PROTO_TCP && !name)
		return;
	if (proto == PROTO_TCP && name[0] != '#' && !match_proto(name, &other))
		return;
	for (size_t i = 0; i < LENGTH(protos); i++)
		if (protos[i].proto == proto)
			put(out, "%s", protos[i].prefix);
}

static void
put_time(struct output *out, deadline span)
{
	size_t i = 0;

	while (span % units[i].span)
		i++;
	if (span)
		put(out, "%lld%s", (long long)(span / units[i].span),
		    units[i].name);
	else
		put(out, "0");
}

static void
put_key(struct output *out, const struct key *key, const struct map *map,
    const struct map *base)
{
	const void *own = (const char *)map + key->offset;
	const void *usual = (const char *)base + key->offset;

	switch (key->kind) {
	case KEY_COUNT:
		if (*(const uint32_t *)own != *(const uint32_t *)usual)
			put(out, ",%s=%u", key->name,
			    (unsigned)*(const uint32_t *)own);
		break;
	case KEY_TIME:
		if (*(const deadline *)own == *(const deadline *)usual)
			break;
		put(out, ",%s=", key->name);
		put_time(out, *(const deadline *)own);
		break;
	case KEY_BALANCE:
		break;
	}
}

int
spec_print(const struct map *map, const struct defaults *base, char *buf,
    size_t size)
{
	const struct map usual = {.times = base->times, .max = base->max};
	bool from = !ns_same(&map->from, &base->from);
	bool to = !ns_same(&map->to, &base->to);
	struct output out = {buf, size, 0};

	put_proto(&out, map->proto, &map->from);
	put_side(&out, &map->listen, &map->from, from);
	for (size_t i = 0; i < map->targets; i++) {
		put(&out, i ? "," : "=");
		put_side(&out, &map->target[i], &map->to, to && i == 0);
	}
	for (size_t i = 0; i < LENGTH(keys); i++)
		put_key(&out, &keys[i], map, &usual);
	return (int)out.used;
}
