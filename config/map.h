/* A map, from its spec to a struct and back. */

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
#include "netns.h"

struct config;

enum proto {
	PROTO_TCP = 1,
	PROTO_UDP = 2
};

/* Numbers of open connections; 0 is no limit of its own. */
struct limits {
	uint32_t conns;
	uint32_t per_source;
	uint32_t flows; /* of UDP; never 0 */
};

enum balance {
	BALANCE_FIRST, /* in order, the first that answers */
	BALANCE_ROUND,
	BALANCE_HASH /* by the client's address */
};

enum hop_kind {
	HOP_HTTP,
	HOP_SOCKS5
};

/* A proxy on the way to the target. */
struct hop {
	enum hop_kind kind;
	struct endpoint side;
	char *user, *password; /* owned; NULL: none */
	char *auth_file;       /* the file that they are in; owned, or NULL */
};

#define WORKERS_MAX 256
#define TARGETS_MAX 64

struct map {
	char *spec;     /* the user's own text, which messages name, with no
			   password in it: see mask_text(); owned */
	char *exact;    /* the same text with passwords, never shown; owned */
	char *origin;   /* it was read: "" or "FILE:LINE: "; owned */
	unsigned proto; /* PROTO_TCP | PROTO_UDP */
	struct ns listen_ns, target_ns;
	struct endpoint listen;
	struct endpoint *targets; /* owned, in the order they are tried */
	size_t n_targets;
	struct hop *hops; /* owned, the nearest first; its namespace is to */
	size_t n_hops;
	enum balance balance;
	unsigned send_proxy; /* PROXY protocol said to the target: 1, 2 */
	struct cidr_list accept_proxy; /* whose clients say it to us */
	struct cidr_list reach; /* what a proxy may reach besides the rest */
	struct cidr_list allow, deny; /* of clients */
	char *user, *password; /* of a proxy's clients; owned; NULL: none */
	char *auth_file;       /* the file that they are in; owned, or NULL */
	char *owner; /* USER[:GROUP] of a UNIX listener, or NULL; owned */
	struct cred owner_cred; /* the same, once somebody has looked it up */
	uint32_t unix_mode;     /* its permissions; 0: those of the umask */
	char *dev;              /* of sockets to the target, owned, or NULL */
	struct endpoint src;    /* their address, INET or INET6; EP_ANY: none */
	uint32_t mark;          /* their mark; 0: none */
	uint32_t workers;       /* event loops; 0: a process a connection */
	struct timeouts times;
	struct limits limits;
	bool no_offload; /* UDP without segmentation offload */
};

/*
 * Parses one map; the namespaces, times and limits that its word does not
 * give are those of *usual. NULL, and *map, which spec_free releases; or why
 * the word is wrong, a string constant, what is wrong in it and how much of
 * that a message should show.
 */
const char *map_parse(struct map *, const char *word,
    const struct map *defaults, const char **part, int *length);
void map_free(struct map *);

/* Reads a namespace as ns_parse() does, and refuses what may be a password. */
const char *map_set_ns(struct ns *, const char *word);
void config_free_maps(struct config *); /* all of its maps */

/* True if two maps of one usual are the same, with all secrets. */
bool map_equal(const struct map *, const struct map *);

/* True if both listen in one place, as far as their words tell. */
bool map_conflicts(const struct map *, const struct map *);

/* True if a target, or the first hop, of a is where b listens, alike. */
bool map_leads_to(const struct map *a, const struct map *b);

/*
 * Writes the canonical form, which spec_parse reads as the same map where
 * base, the built-in defaults, is usual.
 */
void map_print(FILE *, const struct map *, const struct map *builtin);

/* Two new strings of "USER:PASSWORD". NULL, or why not, a string constant. */
const char *parse_user_password(const char *text, char **user, char **password);

/* True if a client with that address may come: deny= wins. */
bool map_allows_client(const struct map *, const union sockaddr_inet *);

#endif
