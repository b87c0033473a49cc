/* Splits a word of GOST, a URL, into its parts. */

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/gost_url.h"

#include "base/secret.h"

/* Ends the text at a separator. Returns the rest, or NULL without separator. */
static char *
cut(char *text, const char *separator)
{
	char *at = strstr(text, separator);

	if (!at)
		return NULL;
	*at = '\0';
	return at + strlen(separator);
}

const char *
gost_url_check(struct gost_url *u, const char *text, const char *bad)
{
	u->bad_part = text;
	return text[strcspn(text, bad)]
	    ? "',', '=', '@', '/' and '%' cannot be translated here"
	    : NULL;
}

/* Returns a key without "service." in front of it. */
static const char *
bare_key(const char *key)
{
	static const char prefix[] = "service.";
	const size_t length = sizeof(prefix) - 1;

	return key + (strncasecmp(key, prefix, length) == 0 ? length : 0);
}

const char *
gost_url_value(const struct gost_url *u, const char *key)
{
	for (size_t i = 0; i < u->n_params; i++)
		if (strcasecmp(bare_key(u->params[i].key), bare_key(key)) == 0)
			return u->params[i].value;
	return NULL;
}

static const char *
split_query(struct gost_url *u, char *query)
{
	char *key, *value;

	while ((key = strsep(&query, "&"))) {
		u->bad_part = key;
		value = cut(key, "=");
		if (!value || !*value || u->n_params == GOST_PARAMS_MAX)
			return "not KEY=VALUE";
		if (gost_url_value(u, key))
			return "a key may stand only once";
		u->params[u->n_params++] = (struct gost_param){key, value};
	}
	return NULL;
}

/* Cuts off the listener of HANDLER+LISTENER that HANDLER alone has in nsfwd. */
static void
normalize_scheme(char *scheme)
{
	char *plus;
	bool udp, same;

	for (char *s = scheme; *s; s++)
		*s = (char)tolower((unsigned char)*s);
	plus = strchr(scheme, '+');
	if (!plus)
		return;
	*plus = '\0';
	udp = strcmp(scheme, "udp") == 0 || strcmp(scheme, "redu") == 0;
	same = strcmp(plus + 1, scheme) == 0;
	if (!same && (udp || strcmp(plus + 1, "tcp") != 0))
		*plus = '+';
}

const char *
gost_url_split(struct gost_url *u, const char *arg)
{
	char *text = strdup(arg), *end, *query, *path, *at;
	const char *why;

	*u = (struct gost_url){.text = text, .bad_part = text};
	if (!text)
		return "out of memory";
	end = text + strlen(text);
	u->scheme = u->user = end;
	u->host = text;
	if (strchr(text, '\n'))
		return "a line break";
	query = cut(text, "?");
	if ((at = cut(text, "://"))) {
		u->scheme = text;
		u->host = at;
		normalize_scheme(text);
	}
	path = cut(u->host, "/");
	u->path = path ? path : end;
	if ((at = strrchr(u->host, '@'))) {
		*at = '\0';
		u->user = u->host;
		u->host = at + 1;
	}
	why = gost_url_check(u, u->user, ",%");
	return why || !query ? why : split_query(u, query);
}

void
gost_url_free(struct gost_url *u)
{
	wipe_and_free(u->text);
}
