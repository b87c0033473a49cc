/* Translates options of GOST into maps. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/gost.h"

#include "base/array.h"
#include "config/mask.h"

#define PARAMS_MAX 32

/*
 * The parts of [SCHEME://][USER:PASSWORD@]HOST:PORT[/PATH][?KEY=VALUE[&...]]. A
 * NUL ends each part in place; a part that is missing is "". The functions
 * below return NULL, or why they refuse the text that bad_part points to.
 */
struct url {
	char *scheme, *user, *host, *path;
	struct url_param {
		char *key, *value;
	} params[PARAMS_MAX];
	size_t n_params;
	const char *bad_part;
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

/* Keys of GOST: the key of a map ("": none is needed), or why there is none. */
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
    {"failtimeout", NULL,
	"a target that failed is avoided for 10s: leave it out"},
    {"maxfails", NULL, "a target that failed is avoided for 10s: leave it out"},
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

/* Ends the text at a separator. Returns the text behind that, or NULL. */
static char *
cut(char *text, const char *separator)
{
	char *at = strstr(text, separator);

	if (!at)
		return NULL;
	*at = '\0';
	return at + strlen(separator);
}

/* Refuses characters that mean something else in a map. %XX is not decoded. */
static const char *
check_chars(struct url *u, const char *text, const char *bad)
{
	u->bad_part = text;
	return text[strcspn(text, bad)]
	    ? "',', '=', '@', '/' and '%' cannot be taken over here"
	    : NULL;
}

static char *
url_value(const struct url *u, const char *key)
{
	for (size_t i = 0; i < u->n_params; i++)
		if (strcasecmp(u->params[i].key, key) == 0)
			return u->params[i].value;
	return NULL;
}

static const char *
split_query(struct url *u, char *query)
{
	char *key, *value;

	while ((key = strsep(&query, "&"))) {
		u->bad_part = key;
		value = cut(key, "=");
		if (!value || !*value || u->n_params == PARAMS_MAX)
			return "not KEY=VALUE";
		if (url_value(u, key))
			return "a key may stand only once";
		u->params[u->n_params++] = (struct url_param){key, value};
	}
	return NULL;
}

static const char *
split_url(struct url *u, char *arg)
{
	char *end = arg + strlen(arg), *query = cut(arg, "?"), *path, *at;
	const char *why;

	*u = (struct url){.scheme = end, .user = end, .host = arg};
	if ((at = cut(arg, "://"))) {
		u->scheme = arg;
		u->host = at;
	}
	path = cut(u->host, "/");
	u->path = path ? path : end;
	if ((at = strrchr(u->host, '@'))) {
		*at = '\0';
		u->user = u->host;
		u->host = at + 1;
	}
	why = check_chars(u, u->user, ",%");
	return why || !query ? why : split_query(u, query);
}

static const char *
check_scheme(struct url *u, enum url_role role)
{
	static const char *const whys[] = {
	    [PROXY] = "no target: write SCHEME://LISTEN/TARGET",
	    [TARGET] = "a proxy takes no target: write tcp://LISTEN/TARGET",
	    [HOP] = "a hop is http or socks5",
	};

	u->bad_part = u->scheme;
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (strcmp(u->scheme, schemes[i].name) == 0)
			return schemes[i].allowed[role] ? NULL : whys[role];
	return "nsfwd has tcp, udp, auto, http, socks4, socks4a and socks5";
}

/*
 * Writes HOST:PORT. A target :PORT becomes PORT, which means loopback. A
 * listener on [::] becomes :PORT, because in GOST it also accepts IPv4.
 */
static const char *
put_hostport(FILE *out, struct url *u, const char *text, bool listens)
{
	const char *why = check_chars(u, text, "=,@/%");

	if (!why && !strchr(text, ':'))
		why = "write HOST:PORT or :PORT";
	if (listens && strncmp(text, "[::]:", 5) == 0)
		text += 4;
	fputs(text + (!listens && *text == ':'), out);
	return why;
}

static const char *
put_ns(FILE *out, struct url *u, const char *key)
{
	const char *value = url_value(u, key);

	if (!value)
		return NULL;
	fprintf(out, "%s@", value);
	return check_chars(u, value, "=,@%");
}

/* GOST connects to several targets in turn. For udp, nsfwd cannot do that. */
static const char *
put_targets(FILE *out, struct url *u)
{
	const char *why = NULL, *comma = "", *item;
	bool round_robin = strchr(u->path, ',') && !url_value(u, "strategy") &&
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

/* Writes the clients to deny; or, after '~', those to allow. */
static const char *
put_acl(FILE *out, char *list)
{
	fputs(*list == '~' ? ",allow=" : ",deny=", out);
	for (list += *list == '~'; *list; list++)
		putc(*list == ',' ? '+' : *list, out);
	return NULL;
}

/* Translates a key and value whose meaning depends on the URL. */
static const char *
translate_value(const struct url *u, const char **key, const char **value)
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
put_key(FILE *out, struct url *u, const struct url_param *param)
{
	const char *key, *value = param->value;
	size_t i = 0;

	u->bad_part = param->key;
	while (i < ARRAY_LEN(keys) && strcasecmp(keys[i].name, param->key) != 0)
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
		return put_acl(out, param->value);
	if (translate_value(u, &key, &value))
		return keys[i].why;
	fprintf(out, ",%s=%s", key, value);
	if (strcmp(key, "udp-timeout") == 0)
		fprintf(out, ",udp-one-way-timeout=%s", value);
	return check_chars(u, value, "=,@%");
}

static const char *
put_hop(FILE *out, struct url *u, char *arg)
{
	const char *why = split_url(u, arg);

	if (!why)
		why = check_scheme(u, HOP);
	u->bad_part = why ? u->bad_part : u->path;
	if (!why && *u->path)
		why = "a hop has no path";
	for (size_t i = 0; i < u->n_params && !why; i++) {
		u->bad_part = u->params[i].key;
		if (strcasecmp(u->bad_part, "netns") != 0)
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

/* Writes a map. Without a target it is a proxy. */
static const char *
put_map(FILE *out, struct url *u, char *arg)
{
	const char *why = split_url(u, arg);
	bool forward = *u->path;
	const char *ns;

	if (!why)
		why = check_scheme(u, forward ? TARGET : PROXY);
	ns = url_value(u, "netns");
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
	for (size_t i = 0; i < u->n_params && !why; i++)
		why = put_key(out, u, &u->params[i]);
	return why;
}

const char *
gost_translate(const char *arg, bool forward, char **text,
    const char **bad_part, int *length)
{
	/* GOST also accepts "-L=URL". */
	size_t skipped = *arg == '=', size = 0;
	char *copy = strdup(arg + skipped);
	const char *why = "out of memory";
	struct url u = {.bad_part = copy};
	FILE *out;

	*text = NULL;
	*bad_part = arg;
	*length = 0;
	out = open_memstream(text, &size);
	if (strchr(arg, '\n'))
		why = "a line break";
	else if (out && copy)
		why = forward ? put_hop(out, &u, copy) : put_map(out, &u, copy);
	if (why && copy) {
		*bad_part = arg + skipped + (u.bad_part - copy);
		*length = shown_length(u.bad_part);
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
