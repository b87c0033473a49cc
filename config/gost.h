/* Translates options of GOST into maps. */

#ifndef CONFIG_GOST_H
#define CONFIG_GOST_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Translates the argument of -L into the spec of a map; or, if forward is true,
 * that of -F into keys to append to such a spec. Returns NULL and sets *text,
 * which the caller frees. Otherwise *text is NULL, and the result is why arg is
 * wrong, a string constant, with *bad_part pointing into arg and *length being
 * how much of that to show.
 */
const char *gost_translate(const char *arg, bool forward, char **text,
    const char **bad_part, int *length);

/* Returns true if GOST has a key of that name, of length bytes. */
bool gost_key_exists(const char *name, size_t length);

#endif
