/* The options --status and --top: print the tables of a running server. */

#ifndef VIEW_VIEW_H
#define VIEW_VIEW_H

#include <stdbool.h>

/*
 * Prints a table of the server's maps if `what` is NULL or "", in JSON if it is
 * "json"; else one of the open connections and flows of the maps whose text
 * contains `what`, or that listen on the port `what`, or of all maps if it is
 * "all"; in JSON if ",json" stands behind that. With `top`, prints the table each second. args has the path of
 * the socket, or nothing: then prints the tables of all servers.
 * Returns the exit status, with errors logged.
 */
int view_run(const char *what, bool top, char **args, int n_args);

#endif
