/* The keys in a word of GOST, KEY=VALUE behind '?'. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/gost_key.h"

#include "base/array.h"
#include "base/nearest.h"
#include "config/gost_scheme.h"

/* The translation of a key of GOST. */
enum gost_rule {
	NOTHING,   /* nothing, because no value has a meaning for nsfwd */
	ON,        /* nothing; any value but "on" is refused */
	SAME,      /* nothing; any value is refused but that of the row, which
		    may have an "s" for seconds */
	KEY,       /* the key of the row */
	KEY_NOT_0, /* the key of the row; nothing for 0, GOST's default */
	REFUSED
};

/* The prefixes that a key of -L may have, as "handler."; HOP: a key of -F. */
enum {
	SERVICE = 1,
	HANDLER = 2,
	LISTENER = 4,
	HOP = 8
};

const char gost_key_unknown[] = "no key that is translated";
static const char rates[] = "tc(8) and nft(8) limit rates";
static const char opaque[] = "nsfwd does not look into what it passes on";
static const char avoided[] =
    "a target that failed is avoided for 10s: leave it out";
static const char sysctls[] =
    "TCP keepalive has the times of the namespace's sysctl: leave it out";

/* clang-format off */
static const struct gost_key {
	const char *name;
	unsigned scopes;
	enum gost_rule rule;
	const char *key; /* the key of a map; for SAME, the value */
	const char *why; /* why the key or a value is refused; or NULL */
} gost_keys[] = {
	{"netns", SERVICE | HOP, NOTHING, NULL, NULL},
	{"netns.out", SERVICE, NOTHING, NULL, NULL},
	{"ignorechain", SERVICE, ON, NULL, "only true: leave it out"},
	{"admission", 0, KEY, "deny", NULL},
	{"climiter", 0, KEY, "max", NULL},
	{"dialtimeout", SERVICE, KEY_NOT_0, "connect-timeout", NULL},
	{"handler.proxyprotocol", 0, KEY_NOT_0, "proxy", NULL},
	{"proxyprotocol", SERVICE, SAME, "0",
	    "accept-proxy=CIDR of a map says whom to trust"},
	{"idletimeout", HANDLER, KEY, "idle-timeout", NULL},
	{"interface", SERVICE | HOP, KEY, "dev", NULL},
	{"so_mark", SERVICE | HOP, KEY_NOT_0, "mark",
	    "GOST reads a decimal number, any other is 0"},
	{"strategy", HOP, KEY, "balance",
	    "the strategies here are round, fifo and hash"},
	{"failtimeout", HOP, SAME, "10", avoided},
	{"fail_timeout", HOP, SAME, "10", avoided},
	{"maxfails", HOP, SAME, "1", avoided},
	{"max_fails", HOP, SAME, "1", avoided},
	{"retries", 0, SAME, "0", "the next target is tried: leave it out"},
	{"keepalive", HANDLER | LISTENER, ON, NULL,
	    "it is always on: leave it out"},
	{"keepalive.ttl", LISTENER, KEY_NOT_0, "udp-timeout", NULL},
	{"ttl", LISTENER, KEY_NOT_0, "udp-timeout", NULL},
	{"keepalive.idle", LISTENER, REFUSED, NULL, sysctls},
	{"keepalive.interval", LISTENER, REFUSED, NULL, sysctls},
	{"keepalive.count", LISTENER, REFUSED, NULL, sysctls},
	{"udp", HANDLER, ON, NULL, "UDP ASSOCIATE is always on: leave it out"},
	{"notls", HANDLER | HOP, ON, NULL, gost_no_tls},
	{"tproxy", HANDLER | LISTENER, NOTHING, NULL, NULL},
	{"readbuffersize", HANDLER | LISTENER, NOTHING, NULL, NULL},
	{"buffersize", HANDLER | LISTENER, NOTHING, NULL, NULL},
	{"udp.buffersize", HANDLER | LISTENER, NOTHING, NULL, NULL},
	{"udpbuffersize", HANDLER | LISTENER, NOTHING, NULL, NULL},
	{"readqueuesize", HANDLER | LISTENER, NOTHING, NULL, NULL},
	{"recvqueuesize", HANDLER | LISTENER, NOTHING, NULL, NULL},
	{"backlog", LISTENER, NOTHING, NULL, NULL},
	{"auth", HOP, REFUSED, NULL, "write USER:PASSWORD@ in front of the host"},
};

/* Why keys that begin with these letters are refused. */
static const struct {
	const char *prefix, *why;
} families[] = {
	{"limiter", rates},
	{"rlimiter", rates},
	{"quota", rates},
	{"bypass", opaque},
	{"sniffing", opaque},
	{"tls", gost_no_tls},
	{"resolver", "the namespace of the targets resolves names"},
	{"hosts", "the namespace of the targets resolves names"},
	{"enablestats", "--stats counts: leave it out"},
	{"chain", "-F names the hops"},
};
/* clang-format on */

static const char *const strategies[][2] = {
    {"round", "round"},
    {"rr", "round"},
    {"fifo", "first"},
    {"ha", "first"},
    {"hash", "hash"},
};

/* Returns the length of a prefix with its '.', and sets *scope; or 0. */
static size_t
scope_prefix(const char *name, size_t length, unsigned *scope)
{
	static const char *const prefixes[] = {"service.", "handler.",
	    "listener."};

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		size_t n = strlen(prefixes[i]);

		*scope = 1U << i;
		if (length > n && strncasecmp(name, prefixes[i], n) == 0)
			return n;
	}
	return 0;
}

/* Returns the row of a name without prefix, or NULL. */
static const struct gost_key *
find_row(const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_LEN(gost_keys); i++)
		if (strlen(gost_keys[i].name) == length &&
		    strncasecmp(gost_keys[i].name, name, length) == 0)
			return &gost_keys[i];
	return NULL;
}

/* Returns the row of a name, or NULL. Sets *scope by the prefix, or to 0. */
static const struct gost_key *
find_gost_key(const char *name, size_t length, unsigned *scope)
{
	const struct gost_key *key = find_row(name, length);
	size_t n = key ? 0 : scope_prefix(name, length, scope);

	if (n)
		return find_row(name + n, length - n);
	*scope = 0;
	return key;
}

bool
gost_key_exists(const char *name, size_t length)
{
	unsigned scope;

	return find_gost_key(name, length, &scope) != NULL;
}

bool
gost_key_is_on(const char *value)
{
	return strcmp(value, "1") == 0 || strcasecmp(value, "t") == 0 ||
	    strcasecmp(value, "true") == 0;
}

/* Returns true if the value is the text, with or without an "s" behind it. */
static bool
is_value(const char *value, const char *text)
{
	size_t length = strlen(text);

	return strncmp(value, text, length) == 0 &&
	    (!value[length] || strcmp(value + length, "s") == 0);
}

static bool
is_zero(const char *value)
{
	size_t zeros = strspn(value, "0.");

	return zeros && !value[zeros + strspn(value + zeros, "hmsnu")];
}

void
gost_key_add_nearest(struct nearest *n)
{
	unsigned scope;

	n->name += scope_prefix(n->name, strlen(n->name), &scope);
	for (size_t i = 0; i < ARRAY_LEN(gost_keys); i++)
		nearest_add(n, gost_keys[i].name);
}

static const char *
unknown_gost_key(const char *name)
{
	unsigned scope;

	name += scope_prefix(name, strlen(name), &scope);
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		if (strncasecmp(name, families[i].prefix,
			strlen(families[i].prefix)) == 0)
			return families[i].why;
	return gost_key_unknown;
}

/* Writes deny= with a list of clients; allow= if the list begins with '~'. */
static const char *
put_acl(FILE *out, const char *list)
{
	fputs(*list == '~' ? ",allow=" : ",deny=", out);
	for (list += *list == '~'; *list; list++)
		putc(*list == ',' ? '+' : *list, out);
	return NULL;
}

/* Returns the key for a value and protocol; NULL if the value has no effect. */
static const char *
key_for(const char *key, const char *value, bool udp)
{
	if (udp && strcmp(key, "max") == 0)
		return "flows";
	if (strcmp(key, "connect-timeout") == 0)
		return udp ? NULL : key;
	if (strcmp(key, "udp-timeout") == 0)
		return udp ? key : NULL;
	if (strcmp(key, "dev") == 0 &&
	    (strchr(value, ':') || !value[strspn(value, ".0123456789")]))
		return "src";
	return key;
}

/* Returns the value in a map; NULL if GOST, or a map, has no such value. */
static const char *
value_for(const char *key, const char *value)
{
	if (strcmp(key, "mark") == 0)
		return value[strspn(value, "0123456789")] ? NULL : value;
	if (strcmp(key, "balance") != 0)
		return value;
	for (size_t i = 0; i < ARRAY_LEN(strategies); i++)
		if (strcmp(value, strategies[i][0]) == 0)
			return strategies[i][1];
	return NULL;
}

static const char *
put_key(FILE *out, struct gost_url *u, const struct gost_key *row,
    const char *param_value)
{
	bool udp = gost_is_udp(u);
	const char *key = key_for(row->key, param_value, udp), *value;

	if (!key || (row->rule == KEY_NOT_0 && is_zero(param_value)))
		return NULL;
	if (strcmp(key, "deny") == 0)
		return put_acl(out, param_value);
	value = value_for(key, param_value);
	if (!value)
		return row->why;
	fprintf(out, ",%s=%s", key, value);
	if (strcmp(key, "udp-timeout") == 0)
		fprintf(out, ",udp-one-way-timeout=%s", value);
	return gost_url_check(u, param_value, "=,@%");
}

const char *
gost_key_put(FILE *out, struct gost_url *u, const struct gost_param *param,
    bool is_hop)
{
	unsigned scope;
	const struct gost_key *row =
	    find_gost_key(param->key, strlen(param->key), &scope);
	bool done = false;

	u->bad_part = param->key;
	if (!row)
		return unknown_gost_key(param->key);
	if (is_hop && (scope || !(row->scopes & HOP)))
		return "a hop takes netns, and the first one interface and "
		       "so_mark";
	if (scope & ~row->scopes)
		return "GOST reads no such key: leave out what is in front of "
		       "'.'";
	switch (row->rule) {
	case KEY:
	case KEY_NOT_0:
		return put_key(out, u, row, param->value);
	case NOTHING:
		return NULL;
	case ON:
		done = gost_key_is_on(param->value);
		break;
	case SAME:
		done = is_value(param->value, row->key);
		break;
	case REFUSED:
		break;
	}
	return done ? NULL : row->why;
}
