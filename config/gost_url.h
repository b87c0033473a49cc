/* Splits a word of GOST, a URL, into its parts. */

#ifndef CONFIG_GOST_URL_H
#define CONFIG_GOST_URL_H

#include <stddef.h>

#define GOST_PARAMS_MAX 32

/*
 * The parts of [SCHEME://][USER:PASSWORD@]HOST:PORT[/PATH][?KEY=VALUE[&...]]. A
 * NUL ends each part in place; a part that is missing is "". Functions that
 * take such a URL return NULL; or why they refuse it, a string constant, with
 * bad_part pointing into the text.
 */
struct gost_url {
	char *text; /* owned */
	char *scheme, *user, *host, *path;
	struct gost_param {
		char *key, *value;
	} params[GOST_PARAMS_MAX];
	size_t n_params;
	const char *bad_part;
};

/*
 * Splits a copy of arg. Writes the scheme in lower case, and without "+tcp" or
 * "+udp" behind it if that changes nothing. gost_url_free() releases the URL in
 * either case.
 */
const char *gost_url_split(struct gost_url *, const char *arg);
void gost_url_free(struct gost_url *);

/*
 * Returns the value of a key, or NULL if the URL has no such key. Ignores the
 * case of letters, and "service." in front of the key.
 */
const char *gost_url_value(const struct gost_url *, const char *key);

/*
 * Refuses a part of the URL, text, that contains a character of `bad`, because
 * those mean something else in a map. Does not decode %XX.
 */
const char *gost_url_check(struct gost_url *, const char *text,
    const char *bad);

#endif
