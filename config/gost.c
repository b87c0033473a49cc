/* Translates GOST's -L and -F words into the word of a map. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/gost.h"

#include "base/array.h"
#include "config/mask.h"

#define PAIRS_MAX 32

/*
 * [SCHEME://][USER:PASSWORD@]HOST:PORT[/PATH][?KEY=VALUE[&KEY=VALUE]...], taken
 * to pieces in place, "" where there is none. A parser returns NULL, or why it
 * refuses part.
 */
struct url {
	char *scheme, *user, *host, *path;
	struct url_param {
		char *key, *value;
	} pair[PAIRS_MAX];
	size_t pairs;
	const char *part;
};

enum url_role {
	PROXY,
	TARGET,
	HOP
};

static const struct {
	const char *name;
	bool allowed[3];
} schemes[] = {
    {"", {true, true, true}},
    {"auto", {true, true, false}},
    {"tcp", {false, true, false}},
    {"udp", {false, true, false}},
    {"http", {true, false, true}},
    {"socks", {true, false, true}},
    {"socks4", {true, false, false}},
    {"socks4a", {true, false, false}},
    {"socks5", {true, false, true}},
};

/* By the key of a map, or why it is not taken over. */
static const struct {
	const char *name, *key, *why;
} keys[] = {
    {"netns", "", NULL},
    {"netns.out", "", NULL},
    {"admission", "deny", NULL},
    {"climiter", "max", NULL},
    {"dialtimeout", "connect-timeout", NULL},
    {"handler.proxyprotocol", "proxy", NULL},
    {"idletimeout", "idle-timeout", NULL},
    {"interface", "dev", NULL},
    {"keepalive", "", "it is always on: leave it out"},
    {"keepalive.ttl", "udp-timeout", NULL},
    {"so_mark", "mark", NULL},
    {"strategy", "balance", "the strategies here are round, fifo and hash"},
    {"ttl", "udp-timeout", NULL},
    {"failtimeout", NULL, "a target that failed rests 10s: leave it out"},
    {"maxfails", NULL, "a target that failed rests 10s: leave it out"},
    {"proxyprotocol", NULL, "accept-proxy=CIDR of a map says whom to trust"},
    {"readbuffersize", NULL, "no datagram is cut: leave it out"},
};

static const char *const strategies[][2] = {
    {"round", "round"},
    {"rr", "round"},
    {"fifo", "first"},
    {"ha", "first"},
    {"hash", "hash"},
};

/* Ends the text at the separator. What stands behind it, or NULL. */
static char *
cut(char *text, const char *separator)
{
	char *at = strstr(text, separator);

	if (!at)
		return NULL;
	*at = '\0';
	return at + strlen(separator);
}

/* In a map these would mean something else; %XX is not decoded. */
static const char *
check(struct url *u, const char *text, const char *bad)
{
	u->part = text;
	return text[strcspn(text, bad)]
	    ? "',', '=', '@', '/' and '%' cannot be taken over here"
	    : NULL;
}

static char *
value_of(const struct url *u, const char *key)
{
	for (size_t i = 0; i < u->pairs; i++)
		if (strcasecmp(u->pair[i].key, key) == 0)
			return u->pair[i].value;
	return NULL;
}

static const char *
split_query(struct url *u, char *query)
{
	char *key, *value;

	while ((key = strsep(&query, "&"))) {
		u->part = key;
		value = cut(key, "=");
		if (!value || !*value || u->pairs == PAIRS_MAX)
			return "not KEY=VALUE";
		if (value_of(u, key))
			return "a key may stand only once";
		u->pair[u->pairs++] = (struct url_param){key, value};
	}
	return NULL;
}

static const char *
split(struct url *u, char *word)
{
	char *end = word + strlen(word), *query = cut(word, "?"), *path, *at;
	const char *why;

	*u = (struct url){.scheme = end, .user = end, .host = word};
	if ((at = cut(word, "://"))) {
		u->scheme = word;
		u->host = at;
	}
	path = cut(u->host, "/");
	u->path = path ? path : end;
	if ((at = strrchr(u->host, '@'))) {
		*at = '\0';
		u->user = u->host;
		u->host = at + 1;
	}
	why = check(u, u->user, ",%");
	return why || !query ? why : split_query(u, query);
}

static const char *
check_scheme(struct url *u, enum url_role use)
{
	static const char *const whys[] = {
	    [PROXY] = "no target: write SCHEME://LISTEN/TARGET",
	    [TARGET] = "a proxy takes no target: write tcp://LISTEN/TARGET",
	    [HOP] = "a hop is http or socks5",
	};

	u->part = u->scheme;
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (strcmp(u->scheme, schemes[i].name) == 0)
			return schemes[i].allowed[use] ? NULL : whys[use];
	return "nsfwd has tcp, udp, auto, http, socks4, socks4a and socks5";
}

/*
 * A number alone is a port of loopback in a map; what listens on [::] in GOST
 * hears IPv4 too.
 */
static const char *
put_hostport(FILE *out, struct url *u, const char *place, bool listens)
{
	const char *why = check(u, place, "=,@/%");

	if (!why && !strchr(place, ':'))
		why = "write HOST:PORT or :PORT";
	if (listens && strncmp(place, "[::]:", 5) == 0)
		place += 4;
	fputs(place + (!listens && *place == ':'), out);
	return why;
}

static const char *
put_ns(FILE *out, struct url *u, const char *key)
{
	const char *value = value_of(u, key);

	if (!value)
		return NULL;
	fprintf(out, "%s@", value);
	return check(u, value, "=,@%");
}

/* Of several targets GOST takes turns; for udp nsfwd has no such way. */
static const char *
put_targets(FILE *out, struct url *u)
{
	const char *why = NULL, *comma = "", *item;
	bool round_robin = strchr(u->path, ',') && !value_of(u, "strategy") &&
	    strcmp(u->scheme, "udp") != 0;

	while (!why && (item = strsep(&u->path, ","))) {
		fputs(comma, out);
		why = put_hostport(out, u, item, false);
		comma = ",";
	}
	if (round_robin)
		fputs(",balance=round", out);
	return why;
}

/* What is in the list is refused, or, behind a '~', all else. */
static const char *
put_acl(FILE *out, char *list)
{
	fputs(*list == '~' ? ",allow=" : ",deny=", out);
	for (list += *list == '~'; *list; list++)
		putc(*list == ',' ? '+' : *list, out);
	return NULL;
}

static const char *
map_value(const struct url *u, const char **key, const char **value)
{
	if (strcmp(*key, "max") == 0 && strcmp(u->scheme, "udp") == 0)
		*key = "flows";
	if (strcmp(*key, "dev") == 0 &&
	    (strchr(*value, ':') || !(*value)[strspn(*value, ".0123456789")]))
		*key = "src";
	if (strcmp(*key, "balance") != 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(strategies); i++)
		if (strcmp(*value, strategies[i][0]) == 0) {
			*value = strategies[i][1];
			return NULL;
		}
	return "";
}

static const char *
put_key(FILE *out, struct url *u, const struct url_param *r)
{
	const char *key, *value = r->value;
	size_t i = 0;

	u->part = r->key;
	while (i < ARRAY_LEN(keys) && strcasecmp(keys[i].name, r->key) != 0)
		i++;
	if (i == ARRAY_LEN(keys))
		return "no key that is taken over (nsfwd(1), FROM GOST)";
	key = keys[i].key;
	if (!key)
		return keys[i].why;
	if (!*key)
		return keys[i].why && strcmp(value, "true") != 0 ? keys[i].why
								 : NULL;
	if (strcmp(key, "deny") == 0)
		return put_acl(out, r->value);
	if (map_value(u, &key, &value))
		return keys[i].why;
	fprintf(out, ",%s=%s", key, value);
	if (strcmp(key, "udp-timeout") == 0)
		fprintf(out, ",udp-one-way-timeout=%s", value);
	return check(u, value, "=,@%");
}

static const char *
put_hop(FILE *out, struct url *u, char *word)
{
	const char *why = split(u, word);

	if (!why)
		why = check_scheme(u, HOP);
	u->part = why ? u->part : u->path;
	if (!why && *u->path)
		why = "a hop has no path";
	for (size_t i = 0; i < u->pairs && !why; i++) {
		u->part = u->pair[i].key;
		if (strcasecmp(u->part, "netns") != 0)
			why = "the only key of a hop is netns";
	}
	fprintf(out, ",via=%s:", u->scheme[0] == 's' ? "socks5" : "http");
	if (!why)
		why = put_ns(out, u, "netns");
	if (!why)
		why = put_hostport(out, u, u->host, false);
	if (*u->user)
		fprintf(out, ",via-auth=%s", u->user);
	return why;
}

/* Without a target it is a proxy. */
static const char *
put_map(FILE *out, struct url *u, char *word)
{
	const char *why = split(u, word);
	bool forward = *u->path;
	const char *ns;

	if (!why)
		why = check_scheme(u, forward ? TARGET : PROXY);
	ns = value_of(u, "netns");
	if (strcmp(u->scheme, "udp") == 0)
		fputs("udp:", out);
	else if (ns && *ns == '#')
		fputs("tcp:", out);
	if (!why)
		why = put_ns(out, u, "netns");
	if (!why)
		why = put_hostport(out, u, u->host, true);
	putc('=', out);
	if (!why)
		why = put_ns(out, u, "netns.out");
	if (!forward)
		fputs("proxy", out);
	else if (!why)
		why = put_targets(out, u);
	if (*u->user)
		fprintf(out, ",auth=%s", u->user);
	for (size_t i = 0; i < u->pairs && !why; i++)
		why = put_key(out, u, &u->pair[i]);
	return why;
}

const char *
gost_translate(const char *word, bool forward, char **text, const char **part,
    int *length)
{
	/* "-L=WORD" is right, too, in GOST. */
	size_t skipped = *word == '=', size = 0;
	char *copy = strdup(word + skipped);
	const char *why = "out of memory";
	struct url u = {.part = copy};
	FILE *out;

	*text = NULL;
	*part = word;
	*length = 0;
	out = open_memstream(text, &size);
	if (strchr(word, '\n'))
		why = "a line break";
	else if (out && copy)
		why = forward ? put_hop(out, &u, copy) : put_map(out, &u, copy);
	if (why && copy) {
		*part = word + skipped + (u.part - copy);
		*length = shown_length(u.part);
	}
	if (out && fclose(out) != 0)
		why = why ? why : "out of memory";
	if (why) {
		free(*text);
		*text = NULL;
	}
	free(copy);
	return why;
}

bool
gost_key_exists(const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strlen(keys[i].name) == length &&
		    strncasecmp(name, keys[i].name, length) == 0)
			return true;
	return false;
}
