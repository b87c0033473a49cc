/* Parses a map. */

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/map.h"

#include "base/secret.h"
#include "config/endpoint.h"
#include "config/key.h"
#include "config/mask.h"
#include "config/value.h"
#include "netns.h"

#define HOPS_MAX 8

/* The characters of a unit name, see systemd.unit(5). */
#define UNIT_CHARS                                                       \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" \
	"_.-:\\"

#define BIT(kind) (1U << (kind))
#define UNIX      (BIT(EP_UNIX_PATH) | BIT(EP_UNIX_ABSTRACT))

static const char unknown_key[] =
    "no KEY=VALUE that is known (a password with ',' in it goes in a file, "
    "auth=/FILE)";
const char map_own_redirect[] =
    "original, in the namespace that the map listens in, is redirected again and "
    "again: name another namespace NS@, or write mark=N, which the rules let pass";
static const char own_target[] =
    "its own target: a connection would come back to this map; name another "
    "port or address, or a namespace NS@";

/*
 * The state of map_parse(). The parsers end parts of map->spec by a NUL. Each
 * returns NULL, or why it refuses the text that bad_part points to.
 */
struct map_parser {
	struct map *map;
	const char *bad_part;
	const char *target[TARGETS_MAX]; /* the text of each target */
	uint32_t seen;                   /* of key_parse() */
	bool key_seen;                   /* any key */
	bool target_ns_set;              /* a target or hop had NS@ */
	bool auth_seen;                  /* auth= or via-auth= */
	bool proto_set;                  /* "PROTO:" stands in front */
};

/*
 * Sets *proto if the text begins with a protocol. Returns the text behind it.
 */
static char *
parse_proto_prefix(char *text, unsigned *proto)
{
	for (unsigned i = PROTO_TCP; i <= (PROTO_TCP | PROTO_UDP); i++) {
		size_t length = strlen(map_proto_prefix(i));

		if (strncmp(text, map_proto_prefix(i), length) == 0) {
			*proto = i;
			return text + length;
		}
	}
	return text;
}

char *
map_ns_end(char *text)
{
	char *at = strchr(text, '@');
	size_t length;

	while (at && strncmp(text, "unit:", 5) == 0 &&
	    (length = strspn(at + 1, UNIT_CHARS)) && at[length + 1] == '@')
		at += length + 1;
	return at;
}

/*
 * Cuts "/tcp" or "/udp" off the ports of an endpoint. In the listener, sets
 * *proto; in a target, compares the suffix with *proto. Returns why the suffix
 * is wrong, or NULL.
 */
static const char *
parse_proto_suffix(struct map_parser *p, char *text, bool listens)
{
	char *at = map_ns_end(text), *slash = strrchr(text, '/');
	const char *ep = at && at != text ? at + 1 : text;
	unsigned proto;

	if (!slash || slash < ep || *ep == '/' || *ep == '@' ||
	    strncmp(ep, "unix:", 5) == 0 ||
	    (strcmp(slash, "/tcp") != 0 && strcmp(slash, "/udp") != 0))
		return NULL;
	proto = slash[1] == 't' ? PROTO_TCP : PROTO_UDP;
	p->bad_part = slash + 1;
	if (listens && !p->proto_set)
		p->map->proto = proto;
	if (!(p->map->proto & proto) || (listens && p->map->proto != proto))
		return "the map has another protocol: write it once, in front "
		       "of the whole map";
	*slash = '\0';
	return NULL;
}

/*
 * Refuses a name with ':' that is not of a kind such as pid:N, because it is
 * USER:PASSWORD@ by mistake, or a URL.
 */
const char *
map_set_ns(struct ns *ns, const char *spec)
{
	const char *why = ns_parse(ns, spec);

	if (why || (!strchr(spec, ':') && strncmp(spec, "//", 2) != 0) ||
	    (ns->kind != NS_NAME && ns->kind != NS_PATH))
		return why;
	ns_free(ns);
	return "no namespace: with ':' there are docker:, podman:, unit:, "
	       "machine:, pid: and fd: (a user and a password are for auth= "
	       "or via-auth=)";
}

/*
 * Moves NS@ from the front of *text into *ns, which must have the same name
 * already if it is fixed. A leading '@' begins an abstract name instead.
 */
static const char *
parse_ns_prefix(struct map_parser *p, char **text, struct ns *ns, bool fixed)
{
	char *name = *text, *at = map_ns_end(name);
	struct ns parsed;
	const char *why;

	if (!at || (at == name && !strchr(name + 1, '@')))
		return NULL;
	p->bad_part = name;
	if (at == name)
		return "an abstract name with '@' in it: write NS@ in front";
	*at = '\0';
	*text = at + 1;
	why = map_set_ns(&parsed, name);
	if (!why && fixed && !ns_same(&parsed, ns))
		why = "all targets and hops of a map share one namespace";
	p->target_ns_set |= ns == &p->map->target_ns;
	ns_free(why ? &parsed : ns);
	if (!why)
		*ns = parsed;
	return why;
}

/*
 * Parses the listener if ports is 0, else a target or a hop. The first target
 * or first hop can name the namespace that all of them share; later ones may
 * only repeat it.
 */
static const char *
parse_endpoint(struct map_parser *p, char *text, struct endpoint *ep,
    unsigned ports)
{
	struct map *map = p->map;
	struct ns *ns = ports ? &map->target_ns : &map->listen_ns;
	bool later = map->n_hops ? map->n_hops > 1 : map->n_targets > 1;
	const char *all = text;
	const char *why = parse_proto_suffix(p, text, ports == 0);

	if (!why)
		why = parse_ns_prefix(p, &text, ns, p->target_ns_set || later);
	if (!why)
		why = endpoint_parse(ep, text, ports, &p->bad_part);
	if (why)
		return why;
	p->bad_part = text;
	if (text == all && endpoint_lacks_ns(ep))
		return "the namespace in front of '@' is empty (an abstract "
		       "socket of that name is self@@NAME)";
	if (ep->port_first == 0 && ep->kind != EP_SYSTEMD &&
	    ep->kind != EP_ORIGINAL && map->proto & PROTO_UDP)
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
	if (p->bad_part != text)
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
	unsigned ports = endpoint_ports(&map->listen);

	p->bad_part = text;
	p->target[map->n_targets % TARGETS_MAX] = text;
	if (p->auth_seen)
		return unknown_key;
	if (map->n_targets && *text && !strpbrk(text, "0123456789/@:") &&
	    strcmp(text, "proxy") != 0 && strcmp(text, "original") != 0)
		return "a key wants =VALUE, a target wants a port";
	if (p->key_seen)
		return "not KEY=VALUE (targets come first)";
	if (map->n_targets == TARGETS_MAX)
		return "more than 64 targets";
	return parse_endpoint(p, text, &map->targets[map->n_targets++], ports);
}

/* Parses via=, which adds a hop. */
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
	p->bad_part = ++text;
	if (strncmp(text, "//", 2) == 0)
		return "a hop is HOST:PORT behind http: or socks5:, without //";
	map->n_hops++;
	why = parse_endpoint(p, text, &hop->ep, 1);
	if (!why && (!hop->ep.port_first || (map->n_hops > 1 && hop->ep.zone)))
		why = "a hop is HOST:PORT (no %INTERFACE behind another hop)";
	if (!why && map->n_hops == 1 && map_leads_to(map, map))
		why = own_target;
	return why;
}

/* Parses auth=, of the clients of a proxy, or via-auth=, of the last hop. */
static const char *
parse_auth(struct map_parser *p, char *value, bool via)
{
	struct map *map = p->map;
	struct hop *hop = map->n_hops ? &map->hops[map->n_hops - 1] : NULL;
	char **user = &map->user, **password = &map->password,
	     **file = &map->auth_file;

	if (via && !hop)
		return "it stands behind its via=";
	if (via) {
		user = &hop->user;
		password = &hop->password;
		file = &hop->auth_file;
	}
	if (*user || *file)
		return "one user is all";
	if (*value != '/')
		return parse_user_password(value, user, password);
	*file = strdup(value);
	return *file ? NULL : "out of memory";
}

static const char *
parse_key(struct map_parser *p, const char *name, char *value)
{
	bool via, via_auth;

	*value++ = '\0';
	via = strcmp(name, "via") == 0;
	via_auth = strcmp(name, "via-auth") == 0;
	p->bad_part = name;
	p->key_seen = true;
	if (p->map->n_targets == 0)
		return key_exists(name, strlen(name))
		    ? "no target in front of KEY=VALUE"
		    : "a second '=': a map is LISTEN=TARGET,KEY=VALUE...";
	if (p->auth_seen && !key_exists(name, strlen(name)))
		return unknown_key;
	if (!via && !via_auth && strcmp(name, "auth") != 0)
		return key_parse(p->map, &p->seen, name, value, &p->bad_part);
	if (p->map->proto != PROTO_TCP)
		return "a key of tcp maps only";
	p->bad_part = value;
	p->auth_seen |= !via;
	return via ? parse_via(p, value) : parse_auth(p, value, via_auth);
}

/* Checks the keys that only the targets proxy and original have. */
static const char *
check_target_keys(const struct map *map, const struct endpoint *target)
{
	bool proxy = target->kind == EP_PROXY,
	     original = target->kind == EP_ORIGINAL;

	if (!proxy && (map->user || map->auth_file))
		return "auth is for the target proxy";
	if (!proxy && !original && map->reach.count)
		return "reach is for the targets proxy and original";
	if (!original && map->no_tproxy)
		return "tproxy is for the target original";
	if (!proxy && (map->udp_ports.first || map->udp_address.kind != EP_ANY))
		return "udp-ports and udp-address are for the target proxy";
	return NULL;
}

/* Checks a target that each client chooses. */
static const char *
check_chosen(const struct map *map, const struct endpoint *target)
{
	bool original = target->kind == EP_ORIGINAL;

	if (map->n_targets > 1)
		return original ? "original is the only target of its map"
				: "a proxy is the only target of its map";
	if (map->listen.kind == EP_STDIO ||
	    (original && !map->listen.port_first))
		return original ? "original needs a port to listen on"
				: "a proxy needs a port to listen on";
	if (original && !map->mark && ns_same(&map->listen_ns, &map->target_ns))
		return map_own_redirect;
	return NULL;
}

/* Checks what depends on several parts, when all are parsed. */
static const char *
check_map(struct map_parser *p)
{
	const struct map *map = p->map;
	const char *why = NULL;

	for (size_t i = 0; i < map->n_targets && !why; i++) {
		const struct endpoint *target = &map->targets[i];

		p->bad_part = p->target[i];
		why = check_target_keys(map, target);
		if (!why &&
		    (target->kind == EP_PROXY || target->kind == EP_ORIGINAL))
			why = check_chosen(map, target);
		if (why)
			break;
		if (map->n_hops && (target->zone || BIT(target->kind) & UNIX))
			why = "no hop can reach a UNIX socket, or an address "
			      "with %INTERFACE";
		else if (!map->n_hops &&
		    map_endpoint_leads_to(map, target, map))
			why = own_target;
		else
			why = key_check(map,
			    map->n_hops ? &map->hops->ep : target);
	}
	return why;
}

/* Refuses white space, which would end the map in a config file. */
static const char *
check_bytes(struct map_parser *p)
{
	for (char *s = p->map->spec; *s; s++) {
		if (!iscntrl((unsigned char)*s) && *s != ' ')
			continue;
		s[1] = '\0';
		p->bad_part = s;
		return "white space or a control byte: a map is one word";
	}
	return NULL;
}

/* Takes an item for KEY=VALUE if '=' comes before any '/', '@' and ':'. */
static const char *
parse_spec(struct map_parser *p)
{
	char *rest, *item, *value;
	const char *why = check_bytes(p);

	if (why)
		return why;
	rest = parse_proto_prefix(p->map->spec, &p->map->proto);
	p->proto_set = rest != p->map->spec;
	item = strsep(&rest, "=");
	p->bad_part = item;
	if (!rest)
		return "a target is missing: write LISTEN=TARGET";
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
map_parse(struct map *map, const char *spec, const struct map *defaults,
    const char **bad_part, int *length)
{
	struct map_parser p = {.map = map};
	const char *why = "out of memory";

	*map = (struct map){
	    .spec = strdup(spec),
	    .proto = PROTO_TCP,
	    .targets = calloc(TARGETS_MAX, sizeof(*map->targets)),
	    .hops = calloc(HOPS_MAX, sizeof(*map->hops)),
	    .src = {.kind = EP_ANY},
	    .udp_address = {.kind = EP_ANY},
	    .times = defaults->times,
	    .limits = defaults->limits,
	    .workers = defaults->workers,
	};
	*bad_part = spec;
	*length = 0;
	if (map->spec && map->targets && map->hops &&
	    ns_copy(&map->listen_ns, &defaults->listen_ns) == 0 &&
	    ns_copy(&map->target_ns, &defaults->target_ns) == 0) {
		p.bad_part = map->spec;
		why = parse_spec(&p);
		*bad_part = spec + (p.bad_part - map->spec);
		*length = shown_length(p.bad_part);
		memcpy(map->spec, spec, strlen(spec)); /* without the NULs */
		mask_text(map->spec);
		if (strcmp(map->spec, spec) != 0 &&
		    !(map->exact = secret_copy(spec)))
			why = "out of memory";
	}
	if (why)
		map_free(map);
	return why;
}
