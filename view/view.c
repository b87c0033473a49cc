/* Prints a table of a running server, once. */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "view/ask.h"
#include "view/table.h"
#include "view/top.h"
#include "view/view.h"

#define NAME_LENGTH_MAX 1024
#define EXIT_WRONG_WORD 2
#define OPEN            "OPEN "

int
view_get(struct view_table *t, const char *path, const char *request)
{
	char *text = view_ask(path, request);
	bool empty;

	*t = (struct view_table){0};
	if (!text)
		return -1;
	empty = !*text;
	if (view_table_parse(t, text))
		return 0;
	view_table_free(t);
	if (empty)
		log_error("--status: no map has '%.*s' in it",
		    (int)strcspn(request + strlen(OPEN), "\r"),
		    request + strlen(OPEN));
	else
		log_error(
		    "--status: %s: the answer is no table: that is another "
		    "socket, perhaps of --stats",
		    path);
	return -1;
}

static int
print_once(const char *path, const char *request, bool json)
{
	struct view_table t;

	if (view_get(&t, path, request) == -1)
		return EXIT_FAILURE;
	if (json)
		view_table_print_json(stdout, &t);
	else
		view_table_print(stdout, &t, 0);
	view_table_free(&t);
	if (fflush(stdout) == 0)
		return EXIT_SUCCESS;
	log_error("standard output: cannot write");
	return EXIT_FAILURE;
}

/* Returns the exit status for a wrong argument, or 0. */
static int
check_words(const char *what, char **args, int n_args)
{
	if (n_args > 1)
		log_error("'%s': --status takes one path of a socket", args[1]);
	else if (n_args && !strchr(args[0], '/'))
		log_error("'%s': --status takes the path of a socket, with '/' "
			  "in it; a map is --status=NAME",
		    args[0]);
	else if (strlen(what) > NAME_LENGTH_MAX || strpbrk(what, "\r\n\t"))
		log_error("--status: no map has such a name");
	else
		return 0;
	return EXIT_WRONG_WORD;
}

int
view_run(const char *what, bool top, char **args, int n_args)
{
	char request[NAME_LENGTH_MAX + 16] = "MAPS\r\n\r\n", path[PATH_MAX];
	bool json;
	int status;

	what = what ? what : "";
	json = strcmp(what, "json") == 0;
	status = check_words(what, args, n_args);
	if (status)
		return status;
	if (*what && !json)
		snprintf(request, sizeof(request), OPEN "%s\r\n\r\n",
		    strcmp(what, "all") == 0 ? "" : what);
	if (n_args)
		snprintf(path, sizeof(path), "%s", args[0]);
	else if (view_find(path, sizeof(path)) == -1)
		return EXIT_FAILURE;
	return top && !json && isatty(STDOUT_FILENO)
	    ? top_run(path, request)
	    : print_once(path, request, json);
}
