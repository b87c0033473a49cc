/* Prints the nft rules that redirect what maps to original take. */

/*
 * Theory of operation
 *
 * A namespace that has no link needs a default route, because connect(2) fails
 * without a route before any rule is asked. It leads to lo, with a metric that
 * any other default route goes before.
 *
 * REDIRECT is a kind of NAT: the first packet of a connection decides. Packets
 * of programs of the namespace pass the hook output; packets that arrive on a
 * link pass prerouting.
 *
 * TPROXY changes no packet. It works in prerouting only. So the chain "own"
 * marks the packets of programs of the namespace, and a route sends marked
 * packets to lo, and thus through prerouting. The same route makes the kernel
 * accept foreign addresses as its own. Replies are not marked, so that they
 * take their route.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "config/rules.h"
#include "netns.h"

#define ROUTE_TABLE 100U

/* Rules for one protocol of a map. */
struct rules {
	FILE *out;
	const struct map *map;
	size_t index; /* of the map; chains are named after it */
	bool udp, tproxy;
	uint32_t mark; /* of packets that are routed to lo; no map has it */
};

static bool
has_family(const struct map *map, int family)
{
	return map->listen.kind != (family == AF_INET6 ? EP_IPV4 : EP_IPV6);
}

static bool
wants_tproxy(const struct map *map, unsigned proto, bool tproxy)
{
	return proto == PROTO_UDP || (tproxy && !map->no_tproxy);
}

/* Returns why a map has no rules beside those of the maps before it, or NULL.*/
static const char *
check_rules_of(const struct config *conf, const struct map *map)
{
	if (!map_is_original(map))
		return "only maps to original want rules";
	if (!ns_same(&map->listen_ns, &conf->maps->listen_ns))
		return "one namespace at a time: rules are for the one that "
		       "the map listens in";
	for (const struct map *m = conf->maps; m < map; m++)
		if (m->proto & map->proto & PROTO_TCP &&
		    ((has_family(m, AF_INET) && has_family(map, AF_INET)) ||
			(has_family(m, AF_INET6) && has_family(map, AF_INET6))))
			return "one map of tcp: its rules redirect all ports";
	return NULL;
}

int
rules_check(const struct config *conf)
{
	for (size_t i = 0; i < conf->n_maps; i++) {
		const struct map *map = &conf->maps[i];
		const char *why = check_rules_of(conf, map);

		if (!why)
			continue;
		log_error("%s'%s': --rules: %s", map->origin, map->spec, why);
		return -1;
	}
	return 0;
}

/* Writes the match for the packets of the map. */
static void
put_match(const struct rules *r)
{
	const struct endpoint *ep = &r->map->listen;

	if (!r->udp)
		fputs("meta l4proto tcp", r->out);
	else if (ep->port_first == ep->port_last)
		fprintf(r->out, "udp dport %u", ep->port_first);
	else
		fprintf(r->out, "udp dport %u-%u", ep->port_first,
		    ep->port_last);
}

/* Returns the address that the map listens on, or loopback. */
static const char *
listener_addr(const struct endpoint *ep, int family, char *buf)
{
	if (IN6_IS_ADDR_UNSPECIFIED(&ep->addr))
		return family == AF_INET6 ? "::1" : "127.0.0.1";
	return inet_ntop(family, &ep->addr, buf, INET6_ADDRSTRLEN);
}

/* Writes the rule that hands packets of a family to the listener. */
static void
put_verdict(const struct rules *r, int family)
{
	const bool six = family == AF_INET6;
	const bool any = IN6_IS_ADDR_UNSPECIFIED(&r->map->listen.addr);
	const char *ip = six ? "ip6" : "ip";
	char buf[INET6_ADDRSTRLEN];
	const char *addr = listener_addr(&r->map->listen, family, buf);

	if (!has_family(r->map, family))
		return;
	fprintf(r->out, "\t\tmeta nfproto %s ", six ? "ipv6" : "ipv4");
	put_match(r);
	if (r->tproxy)
		fprintf(r->out, " meta mark set %u tproxy %s to ", r->mark, ip);
	else if (any)
		fputs(" redirect to ", r->out);
	else
		fprintf(r->out, " dnat %s to ", ip);
	if (r->tproxy || !any)
		fprintf(r->out, six ? "[%s]" : "%s", addr);
	if (!r->udp)
		fprintf(r->out, ":%u", r->map->listen.port_first);
	fputs(r->tproxy ? " accept\n" : "\n", r->out);
}

static void
put_chain(const struct rules *r, const char *name, const char *type)
{
	fprintf(r->out, "\tchain %s_%s_%zu {\n\t\ttype %s\n",
	    r->udp ? "udp" : "tcp", name, r->index + 1, type);
	if (r->map->mark && strcmp(name, "own") == 0)
		fprintf(r->out, "\t\tmeta mark %u return\n", r->map->mark);
	fputs("\t\tfib daddr type local return\n", r->out);
}

static bool
is_on_loopback(const struct endpoint *ep)
{
	return ep->kind == EP_LOOPBACK || IN6_IS_ADDR_LOOPBACK(&ep->addr) ||
	    (ep->kind == EP_IPV4 && ep->addr.s6_addr[0] == 127);
}

/* A packet that arrives on a link cannot be redirected to loopback. */
static void
put_redirect(const struct rules *r)
{
	static const char *const chains[][2] = {
	    {"own", "nat hook output priority -100"},
	    {"forwarded", "nat hook prerouting priority -100"},
	};

	for (int i = 0; i < (is_on_loopback(&r->map->listen) ? 1 : 2); i++) {
		put_chain(r, chains[i][0], chains[i][1]);
		put_verdict(r, AF_INET);
		put_verdict(r, AF_INET6);
		fputs("\t}\n", r->out);
	}
}

static void
put_tproxy(const struct rules *r)
{
	put_chain(r, "own", "route hook output priority mangle");
	fputs("\t\tct direction reply return\n\t\t", r->out);
	put_match(r);
	fprintf(r->out, " meta mark set %u\n\t}\n", r->mark);
	put_chain(r, "arriving", "filter hook prerouting priority mangle");
	put_verdict(r, AF_INET);
	put_verdict(r, AF_INET6);
	fputs("\t}\n", r->out);
}

static void
put_table(struct rules *r, const struct config *conf, bool tproxy)
{
	fputs("nft -f - <<'END'\ntable inet nsfwd\n"
	      "delete table inet nsfwd\ntable inet nsfwd {\n",
	    r->out);
	for (r->index = 0; r->index < conf->n_maps; r->index++) {
		r->map = &conf->maps[r->index];
		for (unsigned p = PROTO_TCP; p <= PROTO_UDP; p++) {
			if (!(r->map->proto & p))
				continue;
			r->udp = p == PROTO_UDP;
			r->tproxy = wants_tproxy(r->map, p, tproxy);
			if (r->tproxy)
				put_tproxy(r);
			else
				put_redirect(r);
		}
	}
	fputs("}\nEND\n", r->out);
}

/* Writes the routes of a family, if a map listens in it. */
static void
put_routes(const struct rules *r, const struct config *conf, bool tproxy,
    int family)
{
	const char *ip = family == AF_INET6 ? "ip -6" : "ip";
	bool used = false, marked = false;

	for (size_t i = 0; i < conf->n_maps; i++) {
		const struct map *map = &conf->maps[i];

		if (!has_family(map, family))
			continue;
		used = true;
		marked |= wants_tproxy(map, map->proto & PROTO_UDP, tproxy);
	}
	if (used)
		fprintf(r->out,
		    "%s route replace default dev lo src %s metric 9999\n", ip,
		    family == AF_INET6 ? "::1" : "127.0.0.1");
	if (!marked)
		return;
	fprintf(r->out, "%s rule del fwmark %u lookup %u 2>/dev/null\n", ip,
	    r->mark, ROUTE_TABLE);
	fprintf(r->out, "%s rule add fwmark %u lookup %u\n", ip, r->mark,
	    ROUTE_TABLE);
	fprintf(r->out, "%s route replace local default dev lo table %u\n", ip,
	    ROUTE_TABLE);
}

/* Returns the lowest mark that no map sets. */
static uint32_t
unused_mark(const struct config *conf)
{
	uint32_t mark = 1;

	for (size_t i = 0; i < conf->n_maps; i++)
		if (conf->maps[i].mark == mark) {
			mark++;
			i = SIZE_MAX;
		}
	return mark;
}

void
rules_print(FILE *out, const struct config *conf, bool tproxy)
{
	struct rules r = {.out = out, .mark = unused_mark(conf)};

	for (size_t i = 0; i < conf->n_maps; i++)
		fprintf(out, "# %s\n", conf->maps[i].spec);
	fputs("ip link set lo up\n", out);
	put_routes(&r, conf, tproxy, AF_INET);
	put_routes(&r, conf, tproxy, AF_INET6);
	put_table(&r, conf, tproxy);
}
