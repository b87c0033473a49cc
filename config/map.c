/* Prints, compares and frees maps. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/map.h"

#include "base/addr.h"
#include "base/secret.h"
#include "base/text.h"
#include "config/endpoint.h"
#include "config/key.h"
#include "netns.h"

const char *
map_proto_prefix(unsigned proto)
{
	return proto == PROTO_TCP ? "tcp:"
	    : proto == PROTO_UDP  ? "udp:"
				  : "tcp+udp:";
}

/*
 * Prints NS@ if print_ns, or if map_parse() would misread the name without it.
 */
static void
print_endpoint(FILE *out, const struct endpoint *ep, const struct ns *ns,
    bool print_ns)
{
	if (print_ns || (ep->name && strchr(ep->name, '@')) ||
	    endpoint_lacks_ns(ep))
		fprintf(out, "%s@", ns_spec(ns));
	endpoint_print(out, ep);
}

static void
print_auth(FILE *out, const char *key, const char *user, const char *file)
{
	if (file)
		fprintf(out, ",%s=%s", key, file);
	else if (user)
		fprintf(out, ",%s=%s:*", key, user);
}

static void
print_targets(FILE *out, const struct map *map, bool print_ns)
{
	/* "self@" stays, because a namespace may have the name of the host. */
	for (size_t i = 0; i < map->n_targets && !map->n_hops; i++)
		print_ns |=
		    map->targets[i].kind == EP_HOST && map->target_ns.spec;
	for (size_t i = 0; i < map->n_targets; i++) {
		fputs(i ? "," : "=", out);
		print_endpoint(out, &map->targets[i], &map->target_ns,
		    i == 0 && print_ns);
	}
}

static void
print_hops(FILE *out, const struct map *map, bool print_ns)
{
	for (size_t i = 0; i < map->n_hops; i++) {
		const struct hop *hop = &map->hops[i];

		fprintf(out,
		    ",via=%s:", hop->kind == HOP_HTTP ? "http" : "socks5");
		print_endpoint(out, &hop->ep, &map->target_ns,
		    i == 0 && print_ns);
		print_auth(out, "via-auth", hop->user, hop->auth_file);
	}
}

/* "tcp:" separates a name that begins with '#' from the start of the line. */
void
map_print(FILE *out, const struct map *map, const struct map *builtin)
{
	bool print_listen_ns = map->listen.kind != EP_STDIO &&
	    !ns_same(&map->listen_ns, &builtin->listen_ns);
	bool print_target_ns = !ns_same(&map->target_ns, &builtin->target_ns);

	if (map->proto != PROTO_TCP || *ns_spec(&map->listen_ns) == '#')
		fputs(map_proto_prefix(map->proto), out);
	print_endpoint(out, &map->listen, &map->listen_ns, print_listen_ns);
	print_targets(out, map, !map->n_hops && print_target_ns);
	print_hops(out, map, print_target_ns);
	print_auth(out, "auth", map->user, map->auth_file);
	key_print(out, map, builtin);
}

/* Users and passwords are compared because a file may have changed. */
bool
map_equal(const struct map *a, const struct map *b)
{
	bool equal = strcmp(a->spec, b->spec) == 0 &&
	    text_equal(a->exact, b->exact) && text_equal(a->user, b->user) &&
	    text_equal(a->password, b->password);

	for (size_t i = 0; equal && i < a->n_hops; i++)
		equal = text_equal(a->hops[i].user, b->hops[i].user) &&
		    text_equal(a->hops[i].password, b->hops[i].password);
	return equal;
}

int
map_inherit_secrets(const struct map *map, bool inherited)
{
	int result = secret_inherit(map->password, inherited);

	for (size_t i = 0; i < map->n_hops; i++)
		result |= secret_inherit(map->hops[i].password, inherited);
	return result;
}

int
map_take_secrets(struct map *map)
{
	bool failed =
	    map->password && !(map->password = secret_take(map->password));

	for (size_t i = 0; i < map->n_hops; i++) {
		char **password = &map->hops[i].password;

		failed |= *password && !(*password = secret_take(*password));
	}
	return failed ? -1 : 0;
}

bool
map_has_names(const struct map *map)
{
	if (map->n_hops)
		return map->hops->ep.kind == EP_HOST;
	for (size_t i = 0; i < map->n_targets; i++)
		if (map->targets[i].kind == EP_HOST ||
		    map->targets[i].kind == EP_PROXY)
			return true;
	return false;
}

bool
map_has_handshake(const struct map *map)
{
	return map->targets->kind == EP_PROXY || map->n_hops ||
	    map->send_proxy || map->accept_proxy.count;
}

bool
map_is_original(const struct map *map)
{
	return map->targets->kind == EP_ORIGINAL;
}

bool
map_client_chooses(const struct map *map)
{
	return map->targets->kind == EP_PROXY || map_is_original(map);
}

bool
map_takes_tproxy(const struct map *map, enum proto proto)
{
	return map_is_original(map) && (proto == PROTO_UDP || !map->no_tproxy);
}

/*
 * Returns the address of a family that a listener has, NULL if none. The
 * unspecified address stands for all.
 */
static const struct in6_addr *
listen_address(const struct endpoint *ep, enum endpoint_kind family)
{
	static const struct in6_addr ipv4_loopback = {
	    .s6_addr = {127, 0, 0, 1},
	};

	if (ep->kind == EP_ANY)
		return &in6addr_any;
	if (ep->kind == EP_LOOPBACK)
		return family == EP_IPV4 ? &ipv4_loopback : &in6addr_loopback;
	return ep->kind == family ? &ep->addr : NULL;
}

static bool
share_address(const struct endpoint *a, const struct endpoint *b,
    enum endpoint_kind family)
{
	const struct in6_addr *one = listen_address(a, family),
			      *other = listen_address(b, family);

	if (!one || !other)
		return false;
	return IN6_IS_ADDR_UNSPECIFIED(one) || IN6_IS_ADDR_UNSPECIFIED(other) ||
	    (memcmp(one, other, sizeof(*one)) == 0 &&
		text_equal(a->zone, b->zone));
}

bool
map_conflicts(const struct map *a, const struct map *b)
{
	const struct endpoint *one = &a->listen, *other = &b->listen;

	/* A path is the same file in all network namespaces. */
	if (!(a->proto & b->proto) || one->kind == EP_SYSTEMD ||
	    one->kind == EP_STDIO || one->port_first > other->port_last ||
	    other->port_first > one->port_last ||
	    (one->kind != EP_UNIX_PATH &&
		!ns_same(&a->listen_ns, &b->listen_ns)))
		return false;
	if (one->kind == other->kind && endpoint_equal(one, other))
		return true;
	/* The address of original depends on the protocol, see bind.c. */
	return !map_is_original(a) && !map_is_original(b) &&
	    (share_address(one, other, EP_IPV4) ||
		share_address(one, other, EP_IPV6));
}

bool
map_endpoint_leads_to(const struct map *map, const struct endpoint *target,
    const struct map *to)
{
	return endpoint_leads_to(target, &to->listen) &&
	    (target->kind == EP_UNIX_PATH ||
		ns_same(&map->target_ns, &to->listen_ns));
}

bool
map_leads_to(const struct map *map, const struct map *to)
{
	const struct endpoint *first =
	    map->n_hops ? &map->hops->ep : map->targets;
	size_t count = map->n_hops ? 1 : map->n_targets;

	for (size_t i = 0; i < count && map->proto & to->proto; i++)
		if (map_endpoint_leads_to(map, &first[i], to))
			return true;
	return false;
}

bool
map_allows_client(const struct map *map, const union sockaddr_inet *client)
{
	return !cidr_match(&map->deny, client) &&
	    (!map->allow.count || cidr_match(&map->allow, client));
}

static void
free_hops(struct map *map)
{
	for (size_t i = 0; i < map->n_hops; i++) {
		endpoint_free(&map->hops[i].ep);
		wipe_and_free(map->hops[i].user);
		secret_free(map->hops[i].password);
		wipe_and_free(map->hops[i].auth_file);
	}
	wipe_and_free(map->hops);
}

void
map_free(struct map *map)
{
	for (size_t i = 0; i < map->n_targets; i++)
		endpoint_free(&map->targets[i]);
	wipe_and_free(map->targets);
	free_hops(map);
	wipe_and_free(map->accept_proxy.items);
	wipe_and_free(map->reach.items);
	wipe_and_free(map->allow.items);
	wipe_and_free(map->deny.items);
	wipe_and_free(map->user);
	secret_free(map->password);
	wipe_and_free(map->auth_file);
	wipe_and_free(map->owner);
	wipe_and_free(map->run_as);
	wipe_and_free(map->dev);
	endpoint_free(&map->src);
	endpoint_free(&map->udp_address);
	endpoint_free(&map->listen);
	ns_free(&map->listen_ns);
	ns_free(&map->target_ns);
	wipe_and_free(map->spec);
	secret_free(map->exact);
	wipe_and_free(map->origin);
	*map = (struct map){0};
}
