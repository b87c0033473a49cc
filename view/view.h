/* The options --status and --top: shows what a running server does. */

#ifndef VIEW_VIEW_H
#define VIEW_VIEW_H

#include <stdbool.h>

/*
 * Prints a table of the server's maps; of what is open in the maps whose text
 * contains `what`; or JSON if that is "json". `what` may be NULL or "". With
 * `top`, prints again and again. args has the path of the socket, or nothing.
 * Returns the exit status, with errors logged.
 */
int view_run(const char *what, bool top, char **args, int n_args);

#endif
