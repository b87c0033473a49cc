/* Maps in GOST's spelling. */

#ifndef CONFIG_GOST_H
#define CONFIG_GOST_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Translates a word of GOST: of -L into the word of a map, of -F into keys for
 * the end of that. NULL, and *text is the caller's to free; or why it is wrong,
 * a string constant, and what is wrong in the word, of so many bytes.
 */
const char *gost_translate(const char *word, bool forward, char **text,
    const char **part, int *length);

/* True if a word of GOST has a key of that name, of so many bytes. */
bool gost_key_exists(const char *name, size_t length);

#endif
