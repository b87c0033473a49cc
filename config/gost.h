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

/* Why a word is wrong. */
struct gost_error {
	const struct gost_word *word;
	const char *bad_part; /* points into the argument */
	int length;           /* how much of bad_part to show */
};

/*
 * Translates n words, at least one, into maps. Each -L is a map, or several if
 * its ports have targets of their own; it goes through the hops of all -F.
 * Returns NULL and sets *maps, lines that the caller frees. Otherwise *maps is
 * NULL, and the result is why the word of *error is wrong, a string constant.
 */
const char *gost_translate(const struct gost_word *words, size_t n, char **maps,
    struct gost_error *error);

#endif
