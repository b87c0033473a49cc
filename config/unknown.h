/* Says what to write in place of an unknown option or key. */

#ifndef CONFIG_UNKNOWN_H
#define CONFIG_UNKNOWN_H

#include <stdbool.h>
#include <stddef.h>

struct config_line;
struct masked_text;

/*
 * Logs the first length bytes of an argument, up to the end of a UTF-8
 * character, as an unknown option. The rest may be a value. `next` is the
 * argument behind it, or NULL. Returns -1.
 */
int unknown_option(const struct masked_text *, const char *arg, size_t length,
    const char *next);

/*
 * Returns why as it is; or, if it says that a key of a map or of GOST is
 * unknown, writes it into buf with the keys that resemble the first length
 * bytes of name. buf has UNKNOWN_SIZE bytes.
 */
#define UNKNOWN_SIZE 320
const char *unknown_key(char *buf, const char *why, const char *name,
    int length);

/*
 * Returns true, logged, if a line of a file that is no option begins with a
 * word that resembles one, or with an option of the command line.
 */
bool unknown_line_option(const struct config_line *);

#endif
