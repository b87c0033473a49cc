/* The option --top: the table again and again, on a terminal. */

#ifndef VIEW_TOP_H
#define VIEW_TOP_H

struct view_table;

/*
 * Prints the answer each second until the user quits. Returns the exit status,
 * with errors logged.
 */
int top_run(const char *path, const char *request);

/* Asks for a table. Returns -1, with the reason logged. */
int view_get(struct view_table *, const char *path, const char *request);

#endif
