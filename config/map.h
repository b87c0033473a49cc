/* A map: parses it from a spec, prints it, and compares it with others. */

#ifndef CONFIG_MAP_H
#define CONFIG_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/sandbox.h"
#include "base/timeouts.h"
#include "config/endpoint.h"
#include "dns/conf.h"
#include "netns.h"

#define WORKERS_MAX 256
#define TARGETS_MAX 64

enum proto {
	PROTO_TCP = 1,
	PROTO_UDP = 2
};

/* Limits of connections and flows at a time; 0 is no limit. */
struct limits {
	uint32_t conns;
	uint32_t per_source; /* connections or flows of one client address */
	uint32_t flows;      /* of UDP; never 0 */
};

enum balance {
	BALANCE_FIRST, /* in order */
	BALANCE_ROUND,
	BALANCE_HASH /* by the client's address */
};

enum hop_kind {
	HOP_HTTP,
	HOP_SOCKS5
};

/* A proxy between this host and the targets. */
struct hop {
	enum hop_kind kind;
	struct endpoint ep;
	char *user, *password; /* owned, the password secret; NULL: none */
	char *auth_file;       /* file with USER:PASSWORD; owned, or NULL */
};

struct port_range {
	uint16_t first, last; /* inclusive */
};

struct map {
	char *spec;   /* the user's text, passwords masked; owned */
	char *exact;  /* the same text with passwords, secret; owned, or NULL */
	char *origin; /* "" or "FILE:LINE: ", for messages; owned */
	unsigned proto; /* PROTO_TCP | PROTO_UDP */
	struct ns listen_ns;
	struct ns target_ns; /* of the first hop, if there are hops */
	struct endpoint listen;
	struct endpoint *targets; /* owned */
	size_t n_targets;
	struct hop *hops; /* in the order of connecting; owned */
	size_t n_hops;
	enum balance balance;
	unsigned send_proxy; /* version of the PROXY header to send; 0: none */
	bool no_proxy_netns; /* the header does not name the namespace */
	bool no_tproxy; /* of original: the TCP listener takes REDIRECT only */
	bool no_proxy_each; /* of UDP: only a flow's first datagram has one */
	struct cidr_list accept_proxy; /* clients that send a PROXY header */
	struct cidr_list reach; /* added to the addresses that may be reached */
	struct port_range udp_ports;  /* of UDP relays of a proxy; 0: any */
	struct endpoint udp_address;  /* told to its clients; EP_ANY: the one
					 that the client connected to */
	struct cidr_list allow, deny; /* clients */
	char *user, *password;        /* for clients of a proxy; as in a hop */
	char *auth_file; /* file with USER:PASSWORD; owned, or NULL */
	char *owner;     /* USER[:GROUP] of a UNIX listener; owned, or NULL */
	struct cred owner_cred; /* of owner, see config_read() */
	char *run_as;           /* user of mappers; owned, or NULL */
	struct cred run_cred;   /* of run_as, see config_read() */
	uint32_t unix_mode;  /* permissions of a UNIX listener; 0: by umask */
	char *dev;           /* device of sockets to targets; owned, or NULL */
	struct endpoint src; /* address of sockets to targets; EP_ANY: none */
	uint32_t mark;       /* mark of sockets to targets; 0: none */
	struct dns_servers dns; /* count 0: those of resolv.conf */
	uint32_t workers;       /* event loops; 0: a process per connection */
	struct timeouts times;
	struct limits limits;
	bool no_offload; /* UDP without GSO and GRO */
};

/*
 * Parses a map. Namespaces, timeouts, limits and workers that spec does not set
 * are taken from defaults. Returns NULL and fills *map, which map_free()
 * releases; or returns why spec is wrong, a string constant, with *bad_part
 * pointing into spec and *length being how much of that to show.
 */
const char *map_parse(struct map *map, const char *spec,
    const struct map *defaults, const char **bad_part, int *length);
void map_free(struct map *);

/*
 * Returns the '@' at the end of NS@, or NULL. The name of a unit can have a
 * '@', too: unit:NAME@INSTANCE@.
 */
char *map_ns_end(char *text);

/*
 * Parses a namespace as ns_parse() does, but refuses text that may be a user
 * and a password.
 */
const char *map_set_ns(struct ns *ns, const char *spec);

/*
 * Writes the canonical form. map_parse() makes the same map of it, if the
 * defaults are builtin, the built-in ones.
 */
void map_print(FILE *, const struct map *, const struct map *builtin);

/* Returns the prefix of a map for PROTO_TCP, PROTO_UDP or both: "tcp:". */
const char *map_proto_prefix(unsigned proto);

/*
 * Returns true if both maps, which have the same defaults, are equal, passwords
 * included.
 */
bool map_equal(const struct map *, const struct map *);

/*
 * Says whether the children that start from now on have the passwords of the
 * map, see base/secret.h. Returns -1 with errno.
 */
int map_inherit_secrets(const struct map *, bool inherited);

/*
 * In such a child, which never frees the map: lets its own children have them.
 * Returns -1 with errno.
 */
int map_take_secrets(struct map *);

/*
 * Returns true if both maps listen on the same address and port, as far as can
 * be told without asking the system.
 */
bool map_conflicts(const struct map *, const struct map *);

/*
 * Returns true if a target or the first hop of map leads to the listener of to.
 */
bool map_leads_to(const struct map *map, const struct map *to);

/* Returns true if that target, or hop, of map leads to the listener of to. */
bool map_endpoint_leads_to(const struct map *map, const struct endpoint *target,
    const struct map *to);

/* Why original is refused in the namespace that the map listens in. */
extern const char map_own_redirect[];

/*
 * Returns true if a connection of the map begins with a handshake: of a proxy's
 * client, of hops, or with a PROXY header.
 */
bool map_has_handshake(const struct map *);

/* Returns true if the map has the target original. */
bool map_is_original(const struct map *);

/* Returns true if each client chooses its target: of proxy, and of original. */
bool map_client_chooses(const struct map *);

/*
 * Returns true if the listeners of a protocol take what TPROXY hands them, for
 * which they need IP_TRANSPARENT.
 */
bool map_takes_tproxy(const struct map *, enum proto);

/*
 * Returns true if connections or flows may look up names: of targets, of the
 * first hop, or those that a proxy's clients ask for.
 */
bool map_has_names(const struct map *);

/* Returns true if allow and deny let the client in. deny is stronger. */
bool map_allows_client(const struct map *, const union sockaddr_inet *client);

#endif
