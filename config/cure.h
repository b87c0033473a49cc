/* What to write: whether it is right, and for an endpoint alone. */

#ifndef CONFIG_CURE_H
#define CONFIG_CURE_H

#include <stdbool.h>

#define CURE_SIZE 512
#define WRITE     "write " /* is in front of cures in an advice */

/*
 * Returns true if the word is a map, with words such as PORT replaced by an
 * example, or has a VALUE, which is not known. If the target HOST:PORT has the
 * name of a namespace, writes '@' in place of its ':'.
 */
bool cure_works(char *word);

/* Returns true if each word with '=' behind WRITE works. */
bool cures_work(char *advice);

/*
 * Writes the advice on an endpoint without '=', or with one at an end, into
 * buf, which has CURE_SIZE bytes. Returns false if the text is no endpoint.
 */
bool cure_single(char *buf, const char *text);

#endif
