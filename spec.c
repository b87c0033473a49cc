/* Parses, checks and prints a map. */

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "words.h"

#define HOPS_MAX  8
#define AUTH_MAX  255 /* of RFC 1929 */
#define SHOWN_MAX 160

#define BIT(kind) (1U << (kind))
#define UNIX      (BIT(SIDE_PATH) | BIT(SIDE_ABSTRACT))
#define BOTH      (PROTO_TCP | PROTO_UDP)

static const char *const protos[] = {
    [PROTO_TCP] = "tcp:",
    [PROTO_UDP] = "udp:",
    [BOTH] = "tcp+udp:",
};

static const char comma[] =
    "no KEY=VALUE that is known (a password with ',' in it goes in a file, "
    "auth=/FILE)";
static const char own[] =
    "its own target: a connection would come back to this map; name another "
    "port or address, or a namespace NS@";

/*
 * The word is taken to pieces in place: a NUL ends a part. A parser returns
 * NULL, or why it refuses what part then points to.
 */
struct parser {
	struct map *map;
	const char *part;
	const char *target[TARGETS_MAX]; /* where each stands */
	uint32_t seen;                   /* the keys of key.c */
	bool keyed;                      /* a key was seen */
	bool placed; /* the namespace of the targets was named */
	bool authed; /* auth= or via-auth= was */
};

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

/* --check prints '*' for a password: that must not be taken for one. */
const char *
spec_auth(const char *text, char **user, char **password)
{
	const char *secret = strchr(text, ':');
	size_t length = secret ? (size_t)(secret - text) : 0;

	if (length < 1 || length > AUTH_MAX)
		return "write USER:PASSWORD, or the absolute path of a file "
		       "that holds it";
	secret++;
	if (!secret[strspn(secret, "*")] || strlen(secret) > AUTH_MAX)
		return "a password of 1 to 255 bytes is missing (--check does "
		       "not print it)";
	*user = strndup(text, length);
	*password = strdup(secret);
	return *user && *password ? NULL : "out of memory";
}

/*
 * What stands in front of a ':' says of which kind a namespace is. So nothing
 * else in front of '@' has one, but USER:PASSWORD by mistake.
 */
const char *
spec_ns(struct ns *ns, const char *word)
{
	const char *why = ns_parse(ns, word);

	if (why || (!strchr(word, ':') && strncmp(word, "//", 2) != 0) ||
	    (ns->kind != NS_NAME && ns->kind != NS_PATH))
		return why;
	ns_free(ns);
	return "no namespace: with ':' there are pid:N and fd:N (a user and a "
	       "password are for auth= or via-auth=)";
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
	why = spec_ns(&given, word);
	if (!why && settled && !ns_same(&given, ns))
		why = "all targets and hops of a map share one namespace";
	p->placed |= ns == &p->map->to;
	ns_free(why ? &given : ns);
	if (!why)
		*ns = given;
	return why;
}

/*
 * What a shell makes of $NS@8080, $NS@ADDR:PORT or $NS@proxy when NS is empty
 * is the name of an abstract socket. Whoever means that says so by NS@.
 */
static bool
lost_its_ns(const char *name)
{
	return strcmp(name, "proxy") == 0 ||
	    (strpbrk(name, "0123456789") &&
		!name[strspn(name, "0123456789.:-/[]")]);
}

/*
 * No ports: the side that listens. The first target settles its namespace; if
 * it names none, the first hop does.
 */
static const char *
parse_side(struct parser *p, char *text, struct side *side, unsigned ports)
{
	struct map *map = p->map;
	struct ns *ns = ports ? &map->to : &map->from;
	bool later = map->hops ? map->hops > 1 : map->targets > 1;
	const char *word = text;
	const char *why = take_ns(p, &text, ns, p->placed || later);

	if (!why && text == word && *text == '@' && lost_its_ns(text + 1))
		why = "the namespace in front of '@' is empty (an abstract "
		      "socket of that name is self@@NAME)";
	if (!why)
		why = side_parse(side, text, ports, &p->part);
	if (why)
		return why;
	p->part = text;
	if (side->lo == 0 && side->kind != SIDE_SYSTEMD &&
	    map->proto & PROTO_UDP)
		return side->text ? "a UNIX socket takes tcp only"
				  : "'-' and a proxy take tcp only";
	return NULL;
}

static const char *
parse_listen(struct parser *p, char *text)
{
	struct map *map = p->map;
	const char *why = parse_side(p, text, &map->listen, 0);

	if (why ||
	    (map->listen.kind != SIDE_STDIO &&
		map->listen.kind != SIDE_SYSTEMD))
		return why;
	if (p->part != text)
		return map->listen.kind == SIDE_STDIO
		    ? "standard input is in no namespace: write '-' alone"
		    : "what systemd opened has its namespace: no NS@";
	ns_free(&map->from);
	map->from = (struct ns){0};
	return NULL;
}

static const char *
parse_target(struct parser *p, char *text)
{
	struct map *map = p->map;
	unsigned ports = (unsigned)(map->listen.hi - map->listen.lo) + 1;

	p->part = text;
	p->target[map->targets % TARGETS_MAX] = text;
	if (!p->authed && map->targets && *text &&
	    !strpbrk(text, "0123456789/@:") && strcmp(text, "proxy") != 0)
		return "a key wants =VALUE, a target wants a port";
	if (p->authed)
		return comma;
	if (p->keyed)
		return "not KEY=VALUE (targets come first)";
	if (map->targets == TARGETS_MAX)
		return "more than 64 targets";
	return parse_side(p, text, &map->target[map->targets++], ports);
}

static bool
leads(const struct map *a, const struct side *to, const struct map *b)
{
	return side_leads(to, &b->listen) &&
	    (to->kind == SIDE_PATH || ns_same(&a->to, &b->from));
}

bool
spec_leads(const struct map *a, const struct map *b)
{
	const struct side *to = a->hops ? &a->hop->side : a->target;
	size_t count = a->hops ? 1 : a->targets;

	for (size_t i = 0; i < count && a->proto & b->proto; i++)
		if (leads(a, &to[i], b))
			return true;
	return false;
}

static const char *
parse_via(struct parser *p, char *value)
{
	struct map *map = p->map;
	struct hop *hop = &map->hop[map->hops];
	char *text = strchr(value, ':');
	const char *why;

	if (map->hops == HOPS_MAX)
		return "more than 8 hops";
	hop->kind = strncmp(value, "http:", 5) == 0 ? HOP_HTTP : HOP_SOCKS5;
	if (hop->kind == HOP_SOCKS5 && strncmp(value, "socks5:", 7) != 0)
		return "write http:[NS@]HOST:PORT or socks5:[NS@]HOST:PORT";
	p->part = ++text;
	if (strncmp(text, "//", 2) == 0)
		return "a hop is HOST:PORT behind http: or socks5:, without //";
	map->hops++;
	why = parse_side(p, text, &hop->side, 1);
	if (!why && (!hop->side.lo || (map->hops > 1 && hop->side.zone)))
		why = "a hop is HOST:PORT (no %INTERFACE behind another hop)";
	if (!why && map->hops == 1 && spec_leads(map, map))
		why = own;
	return why;
}

/* Of a proxy's clients, or of ourselves at the hop in front. */
static const char *
parse_auth(struct parser *p, char *value, bool via)
{
	struct map *map = p->map;
	struct hop *hop = map->hops ? &map->hop[map->hops - 1] : NULL;
	char **user = &map->user, **password = &map->password,
	     **secret = &map->secret;

	if (via && !hop)
		return "it stands behind its via=";
	if (via) {
		user = &hop->user;
		password = &hop->password;
		secret = &hop->secret;
	}
	if (*user || *secret)
		return "one user is all";
	if (*value != '/')
		return spec_auth(value, user, password);
	*secret = strdup(value);
	return *secret ? NULL : "out of memory";
}

static const char *
parse_key(struct parser *p, const char *name, char *value)
{
	bool via, via_auth;

	*value++ = '\0';
	via = strcmp(name, "via") == 0;
	via_auth = strcmp(name, "via-auth") == 0;
	p->part = name;
	p->keyed = true;
	if (p->map->targets == 0)
		return "no target in front of KEY=VALUE";
	if (p->authed && !key_known(name, strlen(name)))
		return comma;
	if (!via && !via_auth && strcmp(name, "auth") != 0)
		return key_parse(p->map, &p->seen, name, value, &p->part);
	if (p->map->proto != PROTO_TCP)
		return "a key of tcp maps only";
	p->part = value;
	p->authed |= !via;
	return via ? parse_via(p, value) : parse_auth(p, value, via_auth);
}

/* What does not fit together, once all of it was read. */
static const char *
check_map(struct parser *p)
{
	const struct map *map = p->map;
	const char *why = NULL;

	for (size_t i = 0; i < map->targets && !why; i++) {
		const struct side *target = &map->target[i];

		p->part = p->target[i];
		if (target->kind == SIDE_PROXY && map->targets > 1)
			why = "a proxy is the only target of its map";
		else if (target->kind == SIDE_PROXY &&
		    map->listen.kind == SIDE_STDIO)
			why = "a proxy needs a port to listen on";
		else if (target->kind != SIDE_PROXY &&
		    (map->user || map->secret || map->reach.count))
			why = "auth and reach are for the target proxy";
		else if (map->hops &&
		    (target->zone || BIT(target->kind) & UNIX))
			why = "no hop can reach a UNIX socket, or an address "
			      "with %INTERFACE";
		else if (!map->hops && leads(map, target, map))
			why = own;
		else
			why = key_check(map,
			    map->hops ? &map->hop->side : target);
	}
	return why;
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
		return "no target: write LISTEN=TARGET, without a space";
	why = parse_listen(p, item);
	while (!why && (item = strsep(&rest, ","))) {
		value = strpbrk(item, "=/@:");
		if (value && *value == '=')
			why = parse_key(p, item, value);
		else
			why = parse_target(p, item);
	}
	return why ? why : check_map(p);
}

const char *
spec_parse(struct map *map, const char *word, const struct map *usual,
    const char **part, int *length)
{
	struct parser p = {.map = map};
	const char *why = "out of memory";

	*map = (struct map){
	    .word = strdup(word),
	    .exact = strdup(word),
	    .proto = PROTO_TCP,
	    .target = calloc(TARGETS_MAX, sizeof(*map->target)),
	    .hop = calloc(HOPS_MAX, sizeof(*map->hop)),
	    .src = {.kind = SIDE_ANY},
	    .times = usual->times,
	    .max = usual->max,
	    .workers = usual->workers,
	};
	*part = word;
	*length = 0;
	if (map->word && map->exact && map->target && map->hop &&
	    ns_copy(&map->from, &usual->from) == 0 &&
	    ns_copy(&map->to, &usual->to) == 0) {
		/* The map keeps the word as it was. */
		p.part = map->word;
		why = parse_word(&p);
		*part = word + (p.part - map->word);
		*length = (int)strnlen(p.part, SHOWN_MAX);
		memcpy(map->word, word, strlen(word));
		mask_text(map->word);
	}
	if (why)
		spec_free(map);
	return why;
}

static bool
same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Passwords may also be in files. */
bool
spec_same(const struct map *a, const struct map *b)
{
	bool same = strcmp(a->exact, b->exact) == 0 &&
	    same_text(a->user, b->user) && same_text(a->password, b->password);

	for (size_t i = 0; same && i < a->hops; i++)
		same = same_text(a->hop[i].user, b->hop[i].user) &&
		    same_text(a->hop[i].password, b->hop[i].password);
	return same;
}

bool
spec_clash(const struct map *a, const struct map *b)
{
	const struct side *one = &a->listen, *other = &b->listen;

	/* Paths are the same in all namespaces. */
	if (!(a->proto & b->proto) || one->kind != other->kind ||
	    one->kind == SIDE_SYSTEMD || one->kind == SIDE_STDIO ||
	    one->lo > other->hi || other->lo > one->hi ||
	    (one->kind != SIDE_PATH && !ns_same(&a->from, &b->from)))
		return false;
	return side_same(one, other);
}

void
spec_free(struct map *map)
{
	for (size_t i = 0; i < map->targets; i++)
		side_free(&map->target[i]);
	free(map->target);
	for (size_t i = 0; map->hop && i < map->hops; i++) {
		side_free(&map->hop[i].side);
		free(map->hop[i].user);
		free(map->hop[i].password);
		free(map->hop[i].secret);
	}
	free(map->hop);
	free(map->accept_proxy.cidr);
	free(map->reach.cidr);
	free(map->allow.cidr);
	free(map->deny.cidr);
	free(map->user);
	free(map->password);
	free(map->secret);
	free(map->owner);
	free(map->dev);
	side_free(&map->src);
	side_free(&map->listen);
	ns_free(&map->from);
	ns_free(&map->to);
	free(map->word);
	free(map->exact);
	free(map->where);
	*map = (struct map){0};
}

void
spec_free_all(struct conf *conf)
{
	for (size_t i = 0; i < conf->maps; i++)
		spec_free(&conf->map[i]);
	free(conf->map);
}

/* A name of a socket must not be taken for a namespace, or for what lost it. */
static void
print_side(FILE *out, const struct side *side, const struct ns *ns,
    bool elsewhere)
{
	if (elsewhere || (side->text && strchr(side->text, '@')) ||
	    (side->kind == SIDE_ABSTRACT && lost_its_ns(side->text)))
		fprintf(out, "%s@", ns_word(ns));
	side_print(out, side);
}

static void
print_auth(FILE *out, const char *key, const char *user, const char *secret)
{
	if (secret)
		fprintf(out, ",%s=%s", key, secret);
	else if (user)
		fprintf(out, ",%s=%s:*", key, user);
}

static void
print_hops(FILE *out, const struct map *map, const struct map *base)
{
	for (size_t i = 0; i < map->hops; i++) {
		const struct hop *hop = &map->hop[i];

		fprintf(out,
		    ",via=%s:", hop->kind == HOP_HTTP ? "http" : "socks5");
		print_side(out, &hop->side, &map->to,
		    i == 0 && !ns_same(&map->to, &base->to));
		print_auth(out, "via-auth", hop->user, hop->secret);
	}
}

/*
 * "tcp:" is left out, unless a namespace in front might be taken for a comment.
 */
void
spec_print(FILE *out, const struct map *map, const struct map *base)
{
	bool there = !map->hops && !ns_same(&map->to, &base->to);

	/* The host, where a namespace has the name. */
	for (size_t i = 0; i < map->targets && !map->hops; i++)
		there |= map->target[i].kind == SIDE_HOST && map->to.text;
	if (map->proto != PROTO_TCP || *ns_word(&map->from) == '#')
		fputs(protos[map->proto], out);
	print_side(out, &map->listen, &map->from,
	    map->listen.kind != SIDE_STDIO &&
		!ns_same(&map->from, &base->from));
	for (size_t i = 0; i < map->targets; i++) {
		fputs(i ? "," : "=", out);
		print_side(out, &map->target[i], &map->to, i == 0 && there);
	}
	print_hops(out, map, base);
	print_auth(out, "auth", map->user, map->secret);
	key_print(out, map, base);
}
