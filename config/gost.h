/* Translates options of GOST into maps. */

#ifndef CONFIG_GOST_H
#define CONFIG_GOST_H

#include <stdbool.h>
#include <stddef.h>

/* The value of one option. */
struct gost_word {
	const char *arg;
	bool forward; /* -F; otherwise -L */
};

/* The word that is wrong, and its part to show. */
struct gost_error {
	const struct gost_word *word;
	const char *bad_part; /* points into the argument */
	int length;           /* bytes of bad_part to show */
};

/*
 * Translates n words, at least one, into maps. Each -L becomes a map, or
 * several maps if its ports have different targets. All maps go through the
 * hops of the -F. Returns NULL, and sets *maps to lines, a secret that the
 * caller frees; or returns why error->word is wrong, a string constant, and
 * sets *maps to NULL.
 */
const char *gost_translate(const struct gost_word *words, size_t n, char **maps,
    struct gost_error *error);

#endif
