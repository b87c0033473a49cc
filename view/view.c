/* Prints a table of a running server, once. */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/nearest.h"
#include "view/ask.h"
#include "view/table.h"
#include "view/top.h"
#include "view/view.h"

#define NAME_LENGTH_MAX 1024
#define OPEN            "OPEN "
#define JSON_SUFFIX     ",json"

/* A request of the user to a server. */
struct question {
	const char *what; /* behind --status= */
	char request[NAME_LENGTH_MAX + 16];
	bool json, top;
};

/*
 * Parses the answer of a server, and frees it. Returns -1, with the reason
 * logged; or 1 if the server has no such map.
 */
static int
parse_answer(struct view_table *t, const struct view_socket *s)
{
	bool empty;

	*t = (struct view_table){0};
	if (!s->answer)
		return -1;
	empty = !*s->answer;
	if (view_table_parse(t, s->answer))
		return 0;
	view_table_free(t);
	if (empty)
		return 1;
	log_error("--status: %s: the answer is no table: that is another "
		  "socket, perhaps of --stats",
	    s->path);
	return -1;
}

/* Writes what the name of no map was perhaps meant to be, or "". */
static void
format_cure(char *buf, size_t size, const char *name)
{
	const char *comma = strrchr(name, ','),
		   *word = comma ? comma + 1 : name;
	struct nearest json = {.name = word};
	struct stat st;

	*buf = '\0';
	nearest_add(&json, "json");
	if (*name == '/' && stat(name, &st) == 0 && S_ISSOCK(st.st_mode))
		snprintf(buf, size, ": write --status %s", name);
	else if (json.count)
		snprintf(buf, size, ": write --status=%.*sjson",
		    (int)(word - name), name);
}

static void
log_no_map(const char *request)
{
	char name[NAME_LENGTH_MAX + 1], cure[NAME_LENGTH_MAX + 32];

	request += strlen(OPEN);
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(request, "\r"),
	    request);
	format_cure(cure, sizeof(cure), name);
	log_error("--status: no map has '%s' in it%s", name, cure);
}

int
view_get(struct view_table *t, const char *path, const char *request)
{
	struct view_socket one = {.answer = NULL};
	int result;

	snprintf(one.path, sizeof(one.path), "%s", path);
	view_ask(&one, 1, request);
	result = parse_answer(t, &one);
	if (result == 1)
		log_no_map(request);
	return result ? -1 : 0;
}

static int
end_output(int status)
{
	if (fflush(stdout) == 0)
		return status;
	log_error("standard output: cannot write");
	return EXIT_FAILURE;
}

static int
print_once(const char *path, const struct question *q)
{
	struct view_table t;

	if (view_get(&t, path, q->request) == -1)
		return EXIT_FAILURE;
	if (q->json)
		view_table_print_json(stdout, &t);
	else
		view_table_print(stdout, &t, 0);
	view_table_free(&t);
	return end_output(EXIT_SUCCESS);
}

/* Prints the tables of all servers that have such a map, with their sockets. */
static int
print_several(const struct view_sockets *found, const struct question *q)
{
	int status = EXIT_SUCCESS, n_printed = 0, result;
	struct view_table t;

	view_ask(found->items, found->count, q->request);
	for (size_t i = 0; i < found->count; i++) {
		result = parse_answer(&t, &found->items[i]);
		if (result == -1)
			status = EXIT_FAILURE;
		if (result)
			continue;
		printf("%s%s:\n", n_printed++ ? "\n" : "",
		    found->items[i].path);
		view_table_print(stdout, &t, 0);
		view_table_free(&t);
	}
	if (!n_printed && status == EXIT_SUCCESS) {
		log_no_map(q->request);
		return EXIT_FAILURE;
	}
	return end_output(status);
}

static int
show_one(const char *path, const struct question *q)
{
	return q->top ? top_run(path, q->request) : print_once(path, q);
}

static int
show(const struct view_sockets *found, const struct question *q)
{
	if (found->count > 1 && !q->json && !q->top)
		return print_several(found, q);
	for (size_t i = 0; found->count > 1 && i < found->count; i++)
		log_error("several servers run: nsfwd --status%s%s%s %s",
		    *q->what ? "=" : "", q->what, q->top ? " --top" : "",
		    found->items[i].path);
	if (found->count > 1)
		return EXIT_FAILURE;
	return show_one(found->items[0].path, q);
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
	return EXIT_USAGE;
}

/* Reads "", "json", "NAME", "all", "NAME,json" or "all,json". */
static void
question_init(struct question *q, const char *what, bool top)
{
	const size_t suffix = strlen(JSON_SUFFIX);
	size_t length = strlen(what);

	q->what = what;
	q->json = strcmp(what, "json") == 0 ||
	    (length > suffix &&
		strcmp(what + length - suffix, JSON_SUFFIX) == 0);
	q->top = top && !q->json && isatty(STDOUT_FILENO);
	if (q->json)
		length -= length > suffix ? suffix : length;
	if (length == 0)
		snprintf(q->request, sizeof(q->request), "MAPS\r\n\r\n");
	else if (length == 3 && memcmp(what, "all", length) == 0)
		snprintf(q->request, sizeof(q->request), OPEN "\r\n\r\n");
	else
		snprintf(q->request, sizeof(q->request), OPEN "%.*s\r\n\r\n",
		    (int)length, what);
}

int
view_run(const char *what, bool top, char **args, int n_args)
{
	struct view_sockets found = {0};
	struct question q;
	int status;

	what = what ? what : "";
	status = check_words(what, args, n_args);
	if (status)
		return status;
	question_init(&q, what, top);
	if (n_args)
		status = show_one(args[0], &q);
	else if (view_find(&found) == -1)
		status = EXIT_FAILURE;
	else
		status = show(&found, &q);
	free(found.items);
	return status;
}
