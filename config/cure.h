/* Checks the maps in advice, and writes the advice on an endpoint alone. */

#ifndef CONFIG_CURE_H
#define CONFIG_CURE_H

#include <stdbool.h>

#define CURE_SIZE  512
#define CURE_START "write " /* stands in front of the cure in an advice */

/*
 * Returns true if the word is a map when an example stands for each name of a
 * part, such as PORT; also if the word has a VALUE, which has no example. The
 * word is shorter than CURE_SIZE. If HOST of the target HOST:PORT is the name
 * of a namespace, replaces its ':' by '@'.
 */
bool cure_is_map(char *word);

/* Calls cure_is_map() for the words behind CURE_START that have a '='. */
bool cure_has_maps(char *advice);

/*
 * Writes the advice on an endpoint without '=', or with one at an end, into
 * buf, which has CURE_SIZE bytes. Returns false if the text is no endpoint.
 */
bool cure_single(char *buf, const char *text);

#endif
