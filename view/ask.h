/* Finds a running server, and asks it. */

#ifndef VIEW_ASK_H
#define VIEW_ASK_H

#include <stddef.h>

/*
 * Writes the path of the socket of the only server in the runtime directories.
 * Returns -1 if there is none, or several, which is logged.
 */
int view_find(char *path, size_t size);

/*
 * Sends a request, and returns the answer, which the caller frees. Replaces
 * control characters by '?', except tabs and newlines, so that the answer
 * cannot change a terminal. Returns NULL with the reason logged.
 */
char *view_ask(const char *path, const char *request);

#endif
