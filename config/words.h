/* Says why several words are no maps, and which map they may mean. */

#ifndef CONFIG_WORDS_H
#define CONFIG_WORDS_H

#include <stdbool.h>

struct masked_text;

/* Returns true if two arguments are LISTEN TARGET. */
bool words_are_pair(char *const *args);

/*
 * Writes why two or more arguments are no maps, and the cure, into buf, which
 * has HABIT_SIZE bytes. Sets *bad to the wrong argument. Returns buf; or NULL
 * if each argument may be a map, or two are LISTEN TARGET. With is_line, they
 * are a line of a file, which has one map.
 */
const char *words_advice(char *buf, bool is_line, char *const *args, int n,
    const struct masked_text *, char **bad);

#endif
