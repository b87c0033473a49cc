/* Finds a running server, and asks it. */

#ifndef VIEW_ASK_H
#define VIEW_ASK_H

#include <limits.h>
#include <stddef.h>

/* A socket of a server, and its answer, NULL if there is none. */
struct view_socket {
	char path[PATH_MAX], *answer;
	size_t size, length; /* of the answer */
};

struct view_sockets {
	struct view_socket *items; /* the caller frees them */
	size_t count;
};

/*
 * Finds the sockets of the servers in the runtime directories, by directory and
 * number. Returns -1 if there is none, or no memory, which is logged.
 */
int view_find(struct view_sockets *);

/*
 * Sends a request to the sockets, to as many at once as there are descriptors
 * for, and sets their answers, which the caller frees. Replaces control
 * characters by '?', except tabs and newlines, so that an answer cannot change
 * a terminal. Logs why there is no answer.
 */
void view_ask(struct view_socket *, size_t count, const char *request);

#endif
