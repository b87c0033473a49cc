/* Parses, checks and prints a map. */

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/text.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/key.h"
#include "config/map.h"
#include "config/mask.h"
#include "netns.h"

#define HOPS_MAX       8
#define AUTH_MAX       255 /* of RFC 1929 */
#define ERROR_PART_MAX 160

#define BIT(kind) (1U << (kind))
#define UNIX      (BIT(EP_UNIX_PATH) | BIT(EP_UNIX_ABSTRACT))
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
struct map_parser {
	struct map *map;
	const char *part;
	const char *target[TARGETS_MAX]; /* where each stands */
	uint32_t seen;                   /* the keys of key.c */
	bool key_seen;                   /* a key was seen */
	bool target_ns_set; /* the namespace of the targets was named */
	bool authed;        /* auth= or via-auth= was */
};

/* Moves a protocol from the front of the word into *proto. */
static char *
parse_proto_prefix(char *word, unsigned *proto)
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
parse_user_password(const char *text, char **user, char **password)
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
map_set_ns(struct ns *ns, const char *word)
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
parse_ns_prefix(struct map_parser *p, char **text, struct ns *ns, bool fixed)
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
	why = map_set_ns(&given, word);
	if (!why && fixed && !ns_same(&given, ns))
		why = "all targets and hops of a map share one namespace";
	p->target_ns_set |= ns == &p->map->target_ns;
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
explain_missing_ns(const char *name)
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
parse_endpoint(struct map_parser *p, char *text, struct endpoint *ep,
    unsigned ports)
{
	struct map *map = p->map;
	struct ns *ns = ports ? &map->target_ns : &map->listen_ns;
	bool later = map->n_hops ? map->n_hops > 1 : map->n_targets > 1;
	const char *word = text;
	const char *why =
	    parse_ns_prefix(p, &text, ns, p->target_ns_set || later);

	if (!why && text == word && *text == '@' &&
	    explain_missing_ns(text + 1))
		why = "the namespace in front of '@' is empty (an abstract "
		      "socket of that name is self@@NAME)";
	if (!why)
		why = endpoint_parse(ep, text, ports, &p->part);
	if (why)
		return why;
	p->part = text;
	if (ep->port_first == 0 && ep->kind != EP_SYSTEMD &&
	    map->proto & PROTO_UDP)
		return ep->name ? "a UNIX socket takes tcp only"
				: "'-' and a proxy take tcp only";
	return NULL;
}

static const char *
parse_listen(struct map_parser *p, char *text)
{
	struct map *map = p->map;
	const char *why = parse_endpoint(p, text, &map->listen, 0);

	if (why ||
	    (map->listen.kind != EP_STDIO && map->listen.kind != EP_SYSTEMD))
		return why;
	if (p->part != text)
		return map->listen.kind == EP_STDIO
		    ? "standard input is in no namespace: write '-' alone"
		    : "what systemd opened has its namespace: no NS@";
	ns_free(&map->listen_ns);
	map->listen_ns = (struct ns){0};
	return NULL;
}

static const char *
parse_target(struct map_parser *p, char *text)
{
	struct map *map = p->map;
	unsigned ports =
	    (unsigned)(map->listen.port_last - map->listen.port_first) + 1;

	p->part = text;
	p->target[map->n_targets % TARGETS_MAX] = text;
	if (!p->authed && map->n_targets && *text &&
	    !strpbrk(text, "0123456789/@:") && strcmp(text, "proxy") != 0)
		return "a key wants =VALUE, a target wants a port";
	if (p->authed)
		return comma;
	if (p->key_seen)
		return "not KEY=VALUE (targets come first)";
	if (map->n_targets == TARGETS_MAX)
		return "more than 64 targets";
	return parse_endpoint(p, text, &map->targets[map->n_targets++], ports);
}

static bool
endpoint_leads(const struct map *a, const struct endpoint *to,
    const struct map *b)
{
	return endpoint_leads_to(to, &b->listen) &&
	    (to->kind == EP_UNIX_PATH || ns_same(&a->target_ns, &b->listen_ns));
}

bool
map_leads_to(const struct map *a, const struct map *b)
{
	const struct endpoint *to = a->n_hops ? &a->hops->side : a->targets;
	size_t count = a->n_hops ? 1 : a->n_targets;

	for (size_t i = 0; i < count && a->proto & b->proto; i++)
		if (endpoint_leads(a, &to[i], b))
			return true;
	return false;
}

static const char *
parse_via(struct map_parser *p, char *value)
{
	struct map *map = p->map;
	struct hop *hop = &map->hops[map->n_hops];
	char *text = strchr(value, ':');
	const char *why;

	if (map->n_hops == HOPS_MAX)
		return "more than 8 hops";
	hop->kind = strncmp(value, "http:", 5) == 0 ? HOP_HTTP : HOP_SOCKS5;
	if (hop->kind == HOP_SOCKS5 && strncmp(value, "socks5:", 7) != 0)
		return "write http:[NS@]HOST:PORT or socks5:[NS@]HOST:PORT";
	p->part = ++text;
	if (strncmp(text, "//", 2) == 0)
		return "a hop is HOST:PORT behind http: or socks5:, without //";
	map->n_hops++;
	why = parse_endpoint(p, text, &hop->side, 1);
	if (!why &&
	    (!hop->side.port_first || (map->n_hops > 1 && hop->side.zone)))
		why = "a hop is HOST:PORT (no %INTERFACE behind another hop)";
	if (!why && map->n_hops == 1 && map_leads_to(map, map))
		why = own;
	return why;
}

/* Of a proxy's clients, or of ourselves at the hop in front. */
static const char *
parse_auth(struct map_parser *p, char *value, bool via)
{
	struct map *map = p->map;
	struct hop *hop = map->n_hops ? &map->hops[map->n_hops - 1] : NULL;
	char **user = &map->user, **password = &map->password,
	     **secret = &map->auth_file;

	if (via && !hop)
		return "it stands behind its via=";
	if (via) {
		user = &hop->user;
		password = &hop->password;
		secret = &hop->auth_file;
	}
	if (*user || *secret)
		return "one user is all";
	if (*value != '/')
		return parse_user_password(value, user, password);
	*secret = strdup(value);
	return *secret ? NULL : "out of memory";
}

static const char *
parse_key(struct map_parser *p, const char *name, char *value)
{
	bool via, via_auth;

	*value++ = '\0';
	via = strcmp(name, "via") == 0;
	via_auth = strcmp(name, "via-auth") == 0;
	p->part = name;
	p->key_seen = true;
	if (p->map->n_targets == 0)
		return "no target in front of KEY=VALUE";
	if (p->authed && !key_exists(name, strlen(name)))
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
check_map(struct map_parser *p)
{
	const struct map *map = p->map;
	const char *why = NULL;

	for (size_t i = 0; i < map->n_targets && !why; i++) {
		const struct endpoint *target = &map->targets[i];

		p->part = p->target[i];
		if (target->kind == EP_PROXY && map->n_targets > 1)
			why = "a proxy is the only target of its map";
		else if (target->kind == EP_PROXY &&
		    map->listen.kind == EP_STDIO)
			why = "a proxy needs a port to listen on";
		else if (target->kind != EP_PROXY &&
		    (map->user || map->auth_file || map->reach.count))
			why = "auth and reach are for the target proxy";
		else if (map->n_hops &&
		    (target->zone || BIT(target->kind) & UNIX))
			why = "no hop can reach a UNIX socket, or an address "
			      "with %INTERFACE";
		else if (!map->n_hops && endpoint_leads(map, target, map))
			why = own;
		else
			why = key_check(map,
			    map->n_hops ? &map->hops->side : target);
	}
	return why;
}

/* A space would end the word in a config file and in the log. */
static const char *
check_bytes(struct map_parser *p)
{
	for (char *s = p->map->spec; *s; s++) {
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
parse_spec(struct map_parser *p)
{
	char *rest, *item, *value;
	const char *why = check_bytes(p);

	if (why)
		return why;
	rest = parse_proto_prefix(p->map->spec, &p->map->proto);
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
map_parse(struct map *map, const char *word, const struct map *defaults,
    const char **part, int *length)
{
	struct map_parser p = {.map = map};
	const char *why = "out of memory";

	*map = (struct map){
	    .spec = strdup(word),
	    .exact = strdup(word),
	    .proto = PROTO_TCP,
	    .targets = calloc(TARGETS_MAX, sizeof(*map->targets)),
	    .hops = calloc(HOPS_MAX, sizeof(*map->hops)),
	    .src = {.kind = EP_ANY},
	    .times = defaults->times,
	    .limits = defaults->limits,
	    .workers = defaults->workers,
	};
	*part = word;
	*length = 0;
	if (map->spec && map->exact && map->targets && map->hops &&
	    ns_copy(&map->listen_ns, &defaults->listen_ns) == 0 &&
	    ns_copy(&map->target_ns, &defaults->target_ns) == 0) {
		/* The map keeps the word as it was. */
		p.part = map->spec;
		why = parse_spec(&p);
		*part = word + (p.part - map->spec);
		*length = (int)strnlen(p.part, ERROR_PART_MAX);
		memcpy(map->spec, word, strlen(word));
		mask_text(map->spec);
	}
	if (why)
		map_free(map);
	return why;
}

/* Passwords may also be in files. */
bool
map_equal(const struct map *a, const struct map *b)
{
	bool same = strcmp(a->exact, b->exact) == 0 &&
	    text_equal(a->user, b->user) && text_equal(a->password, b->password);

	for (size_t i = 0; same && i < a->n_hops; i++)
		same = text_equal(a->hops[i].user, b->hops[i].user) &&
		    text_equal(a->hops[i].password, b->hops[i].password);
	return same;
}

bool
map_conflicts(const struct map *a, const struct map *b)
{
	const struct endpoint *one = &a->listen, *other = &b->listen;

	/* Paths are the same in all namespaces. */
	if (!(a->proto & b->proto) || one->kind != other->kind ||
	    one->kind == EP_SYSTEMD || one->kind == EP_STDIO ||
	    one->port_first > other->port_last ||
	    other->port_first > one->port_last ||
	    (one->kind != EP_UNIX_PATH &&
		!ns_same(&a->listen_ns, &b->listen_ns)))
		return false;
	return endpoint_equal(one, other);
}

void
map_free(struct map *map)
{
	for (size_t i = 0; i < map->n_targets; i++)
		endpoint_free(&map->targets[i]);
	free(map->targets);
	for (size_t i = 0; map->hops && i < map->n_hops; i++) {
		endpoint_free(&map->hops[i].side);
		free(map->hops[i].user);
		free(map->hops[i].password);
		free(map->hops[i].auth_file);
	}
	free(map->hops);
	free(map->accept_proxy.items);
	free(map->reach.items);
	free(map->allow.items);
	free(map->deny.items);
	free(map->user);
	free(map->password);
	free(map->auth_file);
	free(map->owner);
	free(map->dev);
	endpoint_free(&map->src);
	endpoint_free(&map->listen);
	ns_free(&map->listen_ns);
	ns_free(&map->target_ns);
	free(map->spec);
	free(map->exact);
	free(map->origin);
	*map = (struct map){0};
}

void
config_free_maps(struct config *conf)
{
	for (size_t i = 0; i < conf->n_maps; i++)
		map_free(&conf->maps[i]);
	free(conf->maps);
}

/* A name of a socket must not be taken for a namespace, or for what lost it. */
static void
print_endpoint(FILE *out, const struct endpoint *ep, const struct ns *ns,
    bool print_ns)
{
	if (print_ns || (ep->name && strchr(ep->name, '@')) ||
	    (ep->kind == EP_UNIX_ABSTRACT && explain_missing_ns(ep->name)))
		fprintf(out, "%s@", ns_spec(ns));
	endpoint_print(out, ep);
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
print_hops(FILE *out, const struct map *map, const struct map *builtin)
{
	for (size_t i = 0; i < map->n_hops; i++) {
		const struct hop *hop = &map->hops[i];

		fprintf(out,
		    ",via=%s:", hop->kind == HOP_HTTP ? "http" : "socks5");
		print_endpoint(out, &hop->side, &map->target_ns,
		    i == 0 && !ns_same(&map->target_ns, &builtin->target_ns));
		print_auth(out, "via-auth", hop->user, hop->auth_file);
	}
}

/*
 * "tcp:" is left out, unless a namespace in front might be taken for a comment.
 */
void
map_print(FILE *out, const struct map *map, const struct map *builtin)
{
	bool print_ns =
	    !map->n_hops && !ns_same(&map->target_ns, &builtin->target_ns);

	/* The host, where a namespace has the name. */
	for (size_t i = 0; i < map->n_targets && !map->n_hops; i++)
		print_ns |=
		    map->targets[i].kind == EP_HOST && map->target_ns.spec;
	if (map->proto != PROTO_TCP || *ns_spec(&map->listen_ns) == '#')
		fputs(protos[map->proto], out);
	print_endpoint(out, &map->listen, &map->listen_ns,
	    map->listen.kind != EP_STDIO &&
		!ns_same(&map->listen_ns, &builtin->listen_ns));
	for (size_t i = 0; i < map->n_targets; i++) {
		fputs(i ? "," : "=", out);
		print_endpoint(out, &map->targets[i], &map->target_ns,
		    i == 0 && print_ns);
	}
	print_hops(out, map, builtin);
	print_auth(out, "auth", map->user, map->auth_file);
	key_print(out, map, builtin);
}

bool
map_allows_client(const struct map *map, const union sockaddr_inet *peer)
{
	return !cidr_match(&map->deny, peer) &&
	    (!map->allow.count || cidr_match(&map->allow, peer));
}
