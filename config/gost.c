/* Translates options of GOST into maps. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

#include "config/gost.h"

#include "base/array.h"
#include "base/secret.h"
#include "base/text.h"
#include "config/gost_key.h"
#include "config/gost_scheme.h"
#include "config/gost_url.h"
#include "config/mask.h"

/*
 * The state of gost_translate(). Each function returns NULL, or why it refuses
 * the text that bad_part of the URL points to.
 */
struct gost_translator {
	struct gost_url *urls; /* of each word; owned */
	struct gost_url *hops[8];
	size_t n_hops;
	struct gost_url *target; /* the hop that is the target, or NULL */
	struct gost_url *bad;    /* the URL to blame if a function fails */
	FILE *out;
	char *maps; /* what was written; a secret, or NULL */
	size_t length, size;
};

/* Appends to the maps, for fopencookie(3). Returns 0 without memory. */
static ssize_t
append_bytes(void *cookie, const char *data, size_t size)
{
	struct gost_translator *t = cookie;
	const size_t more = t->length + size + 1;
	char *maps;

	if (more > t->size) {
		maps = secret_new(2 * more);
		if (!maps)
			return 0;
		if (t->maps)
			memcpy(maps, t->maps, t->length);
		secret_free(t->maps);
		t->maps = maps;
		t->size = 2 * more;
	}
	memcpy(t->maps + t->length, data, size);
	t->length += size;
	return (ssize_t)size;
}

/* Opens `out` without a buffer, which fclose(3) would not clear. */
static FILE *
open_maps(struct gost_translator *t)
{
	FILE *out =
	    fopencookie(t, "w", (cookie_io_functions_t){.write = append_bytes});

	if (out)
		setvbuf(out, NULL, _IONBF, 0);
	return out;
}

/*
 * Writes NS@ for the value of a key, which in GOST is a name or a path. Here it
 * may also have a kind, as docker:NAME.
 */
static const char *
put_ns(FILE *out, struct gost_url *u, const char *key)
{
	const char *value = gost_url_value(u, key);
	bool relative;

	if (!value)
		return NULL;
	u->bad_part = value;
	relative = *value != '/' &&
	    (strchr(value, '/') || strcmp(value, "self") == 0 ||
		strcmp(value, "init") == 0);
	fprintf(out, "%s%s@", relative ? "/run/netns/" : "", value);
	return gost_url_check(u, value, "=,@%");
}

/* Returns why HOST:PORT cannot be part of a map, or NULL. */
static const char *
check_hostport(struct gost_url *u, const char *text)
{
	size_t length = strlen(text);
	const char *why;

	u->bad_part = text;
	if (length && text[length - 1] == '/')
		return "'/' at its end: leave it out";
	why = gost_url_check(u, text, "=,@/%");
	if (!why && !strchr(text, ':'))
		why = "write HOST:PORT or :PORT";
	return why;
}

/*
 * Writes a target or hop. :PORT becomes PORT, which means loopback. Refuses a
 * wrong port here, because a map would show a password that stands there.
 */
static const char *
put_remote(FILE *out, struct gost_url *u, const char *text)
{
	const char *why = check_hostport(u, text), *port = strrchr(text, ':');

	fputs(text + (port == text), out);
	if (why || (*text == '[' && strchr(port, ']')) ||
	    !port[1 + strspn(port + 1, "0123456789-")])
		return why;
	u->bad_part = port + 1;
	return "not a port: 1 to 65535";
}

/*
 * Writes the listener, with ports in place of those of the URL. [::]:PORT
 * becomes :PORT, because a GOST that listens on [::] also accepts IPv4.
 */
static const char *
put_listen(FILE *out, struct gost_url *u, const char *ports)
{
	const char *colon = strrchr(u->host, ':');
	size_t length = colon ? (size_t)(colon - u->host) : 0;
	const char *ns = gost_url_value(u, "netns"), *why;

	if (gost_is_udp(u))
		fputs("udp:", out);
	else if (ns && *ns == '#')
		fputs("tcp:", out);
	why = put_ns(out, u, "netns");
	if (!why)
		why = check_hostport(u, u->host);
	if (why)
		return why;
	if (length == 9 && strncasecmp(u->host, "localhost", length) == 0)
		fputs("127.0.0.1", out);
	else if (length != 4 || strncmp(u->host, "[::]", length) != 0)
		fprintf(out, "%.*s", (int)length, u->host);
	fprintf(out, ":%s=", ports);
	return NULL;
}

/* The ports N or N-M behind the last ':' of HOST:PORT. */
struct port_range {
	uint32_t first, count; /* count is 0 for any other text */
};

static struct port_range
read_ports(const char *hostport)
{
	const char *colon = strrchr(hostport, ':');
	char *low = strdup(colon ? colon + 1 : ""), *high = NULL;
	struct port_range ports = {0, 0};
	uint32_t last;

	if (low && (high = strchr(low, '-')))
		*high++ = '\0';
	if (low && parse_uint(low, 1, UINT16_MAX, &ports.first) &&
	    parse_uint(high ? high : low, ports.first, UINT16_MAX, &last))
		ports.count = last - ports.first + 1;
	wipe_and_free(low);
	return ports;
}

static const char *
put_hop_keys(struct gost_translator *t, struct gost_url *u, bool first)
{
	const char *why = NULL;

	for (size_t i = 0; i < u->n_params && !why; i++) {
		const struct gost_param *param = &u->params[i];
		bool leaves = strcasecmp(param->key, "interface") == 0 ||
		    strcasecmp(param->key, "so_mark") == 0;

		u->bad_part = param->key;
		if (leaves && !first)
			why = "only the first hop is reached from here";
		else if (u == t->target ||
		    strcasecmp(param->key, "strategy") != 0)
			why = gost_key_put(t->out, u, param, true);
	}
	return why;
}

/* Writes the hops of a map with their keys, and the keys of the target. */
static const char *
put_hops(struct gost_translator *t)
{
	const char *why = NULL;

	for (size_t i = 0; i < t->n_hops && !why; i++) {
		struct gost_url *u = t->bad = t->hops[i];

		fprintf(t->out,
		    ",via=%s:", u->scheme[0] == 's' ? "socks5" : "http");
		why = put_ns(t->out, u, "netns");
		if (!why)
			why = put_remote(t->out, u, u->host);
		if (*u->user)
			fprintf(t->out, ",via-auth=%s", u->user);
		if (!why)
			why = put_hop_keys(t, u, i == 0);
	}
	if (!why && t->target) {
		t->bad = t->target;
		why = put_hop_keys(t, t->target, t->n_hops == 0);
	}
	return why;
}

/*
 * Writes the targets of a list in u; if the list is empty, "original" or
 * "proxy".
 */
static const char *
put_targets(struct gost_translator *t, struct gost_url *u, char *list)
{
	const char *why = NULL;
	char *item;

	if (!*list) {
		fputs(gost_is_original(u) ? "original" : "proxy", t->out);
		return NULL;
	}
	while (!why && (item = strsep(&list, ","))) {
		why = put_remote(t->out, u, item);
		if (!why && list) {
			list[-1] = ',';
			putc(',', t->out);
		}
	}
	return why;
}

/*
 * Writes the map that listens on some ports of u. The targets are a list in
 * last, which is u or the -F that is the target. Adds balance=round for several
 * targets of TCP, because GOST connects to them in turn.
 */
static const char *
put_map(struct gost_translator *t, struct gost_url *u, struct gost_url *last,
    const char *ports, char *targets)
{
	bool chained = !gost_url_value(u, "ignorechain");
	bool turns = strchr(targets, ',') && !gost_is_udp(u) &&
	    !gost_url_value(last, "strategy");
	const char *why = put_listen(t->out, t->bad = u, ports);

	if (!why && (last == u || !gost_url_value(last, "netns")))
		why = put_ns(t->out, u, "netns.out");
	t->bad = why ? u : last;
	if (!why && last != u)
		why = put_ns(t->out, last, "netns");
	if (!why)
		why = put_targets(t, last, targets);
	fputs(turns ? ",balance=round" : "", t->out);
	if (*u->user)
		fprintf(t->out, ",auth=%s", u->user);
	for (size_t i = 0; i < u->n_params && !why; i++)
		why = gost_key_put(t->out, t->bad = u, &u->params[i], false);
	if (!why && chained)
		why = put_hops(t);
	putc('\n', t->out);
	return why;
}

/*
 * Writes a map for each target. Each map listens on as many ports as its target
 * has, from `first` on.
 */
static const char *
put_pairs(struct gost_translator *t, struct gost_url *u, struct gost_url *last,
    uint32_t first, char *targets)
{
	const char *why = NULL;
	char ports[32], *item;

	while (!why && (item = strsep(&targets, ","))) {
		uint32_t count = read_ports(item).count;

		snprintf(ports, sizeof(ports), count > 1 ? "%u-%u" : "%u",
		    first, first + count - 1);
		first += count;
		why = put_map(t, u, last, ports, item);
		if (!why && targets)
			targets[-1] = ',';
	}
	return why;
}

/*
 * Counts the targets of a list, and returns the sum of their ports. Both are 0
 * if a target has no port.
 */
static uint32_t
count_ports(char *list, uint32_t *n_targets)
{
	uint32_t sum = 0, count;
	char *item;

	*n_targets = 0;
	while ((item = strsep(&list, ","))) {
		count = read_ports(item).count;
		if (list)
			list[-1] = ',';
		if (!count)
			return *n_targets = 0;
		++*n_targets;
		sum += count;
	}
	return sum;
}

/* Writes the maps of u. Pairs the ports of u with those of targets, as GOST. */
static const char *
put_maps(struct gost_translator *t, struct gost_url *u, struct gost_url *last,
    char *targets)
{
	struct port_range listen = read_ports(u->host);
	const char *colon = strrchr(u->host, ':');
	uint32_t n, sum = count_ports(targets, &n);

	t->bad = last;
	last->bad_part = targets;
	if (listen.count == 1 && sum > n)
		return "one port listens: name each target port, as h:1,h:2";
	if (listen.count > 1 && n > 1 && sum == listen.count)
		return put_pairs(t, u, last, listen.first, targets);
	if (listen.count > 1 && n > 1)
		return "GOST pairs listening ports with targets: as many, or "
		       "one target";
	return put_map(t, u, last, colon ? colon + 1 : "", targets);
}

/* Writes the maps of one -L. */
static const char *
put_listener(struct gost_translator *t, struct gost_url *u)
{
	bool chained = !gost_url_value(u, "ignorechain");
	struct gost_url *last = chained ? t->target : NULL;
	bool forward =
	    *u->path || (last && *u->scheme && strcmp(u->scheme, "auto") != 0);
	const char *why = gost_scheme_check(u,
	    forward                   ? GOST_TARGET
		: gost_is_original(u) ? GOST_ORIGINAL
				      : GOST_PROXY);

	if (why)
		return why;
	u->bad_part = u->user;
	if (gost_is_original(u) && *u->user)
		return "a redirected client says no password";
	u->bad_part = u->scheme;
	if (gost_is_udp(u) && chained && (last || t->n_hops))
		return "UDP goes through no hop: ignoreChain=true leaves this "
		       "-L out";
	if (last && *u->path) {
		u->bad_part = u->path;
		return "-F tcp:// is the target already";
	}
	if (last && !forward)
		return "with -F tcp:// it is no proxy: write tcp://LISTEN";
	return put_maps(t, u, last ? last : u, last ? last->host : u->path);
}

/* Takes the URL of one -F as a hop, or as the target. */
static const char *
take_hop(struct gost_translator *t, struct gost_url *u)
{
	bool target =
	    strcmp(u->scheme, "tcp") == 0 || strcmp(u->scheme, "forward") == 0;
	const char *why =
	    gost_scheme_check(u, target ? GOST_TARGET_HOP : GOST_HOP);

	if (why)
		return why;
	if (t->target)
		return "a hop behind -F tcp://, which is the target";
	u->bad_part = u->path;
	if (*u->path)
		return "a hop has no path";
	u->bad_part = u->host;
	if (!target && strchr(u->host, ','))
		return "a hop has one node here (those of tcp:// are targets)";
	if (!target && t->n_hops == ARRAY_LEN(t->hops))
		return "more than 8 hops";
	u->bad_part = u->user;
	if (target && *u->user)
		return "a target takes no user";
	if (target)
		t->target = u;
	else
		t->hops[t->n_hops++] = u;
	return NULL;
}

/* Translates all words; each -F before any -L, because hops are for all -L. */
static const char *
translate_words(struct gost_translator *t, const struct gost_word *words,
    size_t n)
{
	const char *why = NULL;

	for (size_t i = 0; i < n && !why; i++) {
		/* GOST also accepts "-L=URL". */
		const char *arg = words[i].arg + (*words[i].arg == '=');

		t->bad = &t->urls[i];
		why = gost_url_split(t->bad, arg);
		if (!why && words[i].forward)
			why = take_hop(t, t->bad);
	}
	for (size_t i = 0; i < n && !why; i++) {
		t->bad = &t->urls[i];
		if (!words[i].forward)
			why = put_listener(t, t->bad);
	}
	return why;
}

static bool
has_listener(const struct gost_word *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!words[i].forward)
			return true;
	return false;
}

/* Points *error to the refused part of the user's argument. */
static void
locate_error(const struct gost_translator *t, const struct gost_word *words,
    struct gost_error *error)
{
	const struct gost_url *u = t->bad;

	if (!u || !u->text)
		return;
	error->word = &words[u - t->urls];
	error->bad_part = error->word->arg + (*error->word->arg == '=') +
	    (u->bad_part - u->text);
	error->length = shown_length(u->bad_part);
}

const char *
gost_translate(const struct gost_word *words, size_t n, char **maps,
    struct gost_error *error)
{
	struct gost_translator t = {.urls = calloc(n, sizeof(*t.urls))};
	const char *why = "out of memory";

	*error =
	    (struct gost_error){words, words->arg, shown_length(words->arg)};
	t.out = open_maps(&t);
	if (!has_listener(words, n))
		why = "-F is for -L (a map has via=)";
	else if (t.out && t.urls)
		why = translate_words(&t, words, n);
	if (t.out && (ferror(t.out) | fclose(t.out)))
		why = why ? why : "out of memory";
	if (why) {
		locate_error(&t, words, error);
		secret_free(t.maps);
		t.maps = NULL;
	}
	*maps = t.maps;
	for (size_t i = 0; i < n && t.urls; i++)
		gost_url_free(&t.urls[i]);
	wipe_and_free(t.urls);
	return why;
}
