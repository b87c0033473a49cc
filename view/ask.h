/* Finds a running server, and asks it. */

#ifndef VIEW_ASK_H
#define VIEW_ASK_H

#include <limits.h>
#include <stddef.h>

/* The paths of the sockets of servers. */
struct view_sockets {
	char paths[64][PATH_MAX];
	size_t count;
};

/*
 * Adds the sockets of the servers in the runtime directories, by directory and
 * number. Returns -1 if there is none, which is logged.
 */
int view_find(struct view_sockets *);

/*
 * Sends a request, and returns the answer, which the caller frees. Replaces
 * control characters by '?', except tabs and newlines, so that the answer
 * cannot change a terminal. Returns NULL with the reason logged.
 */
char *view_ask(const char *path, const char *request);

#endif
