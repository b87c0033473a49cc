/* From the words of a user to maps: keys, files, GOST's spelling, passwords. */

#ifndef WORDS_H
#define WORDS_H

#include "nsfwd.h"

/* key.c */

/*
 * Reads the value of a key, which it may take to pieces, into the map. *seen
 * is 0 before the first one. Errors as of side_parse().
 */
const char *key_parse(struct map *, uint32_t *seen, const char *name,
    char *value, const char **part);

/*
 * Why keys do not go together with the first place that is connected to on the
 * way to a target; NULL if they do.
 */
const char *key_check(const struct map *, const struct endpoint *first_ep);

/* Writes the keys that differ from those of base, each after a ','. */
void key_print(FILE *, const struct map *, const struct map *builtin);

/* True if a map has a key of that name, of so many bytes. */
bool key_exists(const char *name, size_t length);

/* conf.c */

/* A text that holds words, and the same after mask_text(). */
struct shown {
	char *text, *shown;
};

/*
 * Adds maps: those of a file; of words, found at where, which is "" or ends in
 * ": "; of lines that gost_translate() made, each with forward behind it. 0,
 * or -1 and the reason is logged.
 */
int config_add_file(struct config *, const struct map *defaults,
    const char *file);
int config_add_args(struct config *, const struct map *defaults,
    const char *where, char *const *word, int words, const struct shown *);
int config_add_gost(struct config *, const struct map *defaults,
    const char *listen, const char *forward);

/* Refuses maps that lead into each other: 0, or -1 with the reason logged. */
int config_check(const struct config *);

/* Looks up USER or USER:GROUP. NULL, or why it cannot, a string constant. */
const char *parse_cred(struct cred *, const char *value);

/* gost.c */

/*
 * Translates a word of GOST: of -L into the word of a map, of -F into keys for
 * the end of that. NULL, and *text is the caller's to free; or why it is wrong,
 * a string constant, and what is wrong in the word, of so many bytes.
 */
const char *gost_translate(const char *word, bool forward, char **text,
    const char **part, int *length);

/* True if a word of GOST has a key of that name, of so many bytes. */
bool gost_key_exists(const char *name, size_t length);

/* mask.c */

/*
 * Makes each byte of a password '*', in a text of one or several words of a
 * user, right or wrong. Whatever a message shows has been through it, whole:
 * where a password ends is not seen in a part.
 */
void mask_text(char *text);

#endif
