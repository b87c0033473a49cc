/* Reads the files of --config into lines of words. */

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "config/lines.h"

#include "base/log.h"
#include "base/secret.h"
#include "config/mask.h"

#define WHITE     " \t\r\v\f"
#define READ_SIZE 32768

/* Logs an error found at origin: "FILE: " or "FILE:LINE: ". Returns -1. */
static int
line_failed(const char *origin, const char *why)
{
	log_error("%s%s", origin, why);
	return -1;
}

/*
 * Returns the end of the word at s. A word that begins with a quotation mark
 * ends behind the next one of its kind, so that the word may have white space
 * in it. Returns NULL if there is no such end, followed by white space.
 */
static char *
word_end(char *s)
{
	char *end;

	if (*s != '"' && *s != '\'')
		return s + strcspn(s, WHITE);
	end = strchr(s + 1, *s);
	return end && (!end[1] || strchr(WHITE, end[1])) ? end + 1 : NULL;
}

/* Returns true if a comment begins in the line. */
static bool
has_comment(char *s)
{
	while (s && *(s += strspn(s, WHITE))) {
		if (*s == '#')
			return true;
		s = word_end(s);
	}
	return false;
}

/* Splits a line into at most LINE_WORDS words. Returns 0, or -1 logged. */
static int
split_words(struct config_line *line)
{
	char *s = line->text.text, *end;

	while (*(s += strspn(s, WHITE)) && *s != '#' &&
	    line->n_words < LINE_WORDS) {
		end = word_end(s);
		if (!end)
			return line_failed(line->origin,
			    "a quotation mark without its end");
		line->words[line->n_words++] =
		    *s == '"' || *s == '\'' ? s + 1 : s;
		if (*s == '"' || *s == '\'')
			end[-1] = '\0';
		if (!*end)
			break;
		*end = '\0';
		s = end + 1;
	}
	return 0;
}

static void
free_line(struct config_line *line)
{
	wipe_and_free(line->origin);
	wipe_and_free(line->text.text);
	wipe_and_free(line->text.masked);
}

static int
add_line(struct config_lines *all, const char *origin, const char *text)
{
	struct config_line line = {
	    .origin = strdup(origin),
	    .text = {strdup(text), mask_copy(text)},
	};
	struct config_line *items =
	    realloc(all->items, (all->count + 1) * sizeof(*items));

	if (items)
		all->items = items;
	if (!items || !line.origin || !line.text.text || !line.text.masked) {
		free_line(&line);
		return line_failed(origin, "out of memory");
	}
	if (split_words(&line) == -1 || !line.n_words) {
		int result = line.n_words ? -1 : 0;

		free_line(&line);
		return result;
	}
	all->items[all->count++] = line;
	return 0;
}

/*
 * Cuts the next line off *rest, and returns it. If the line ends with '\' and
 * has no comment, the first word of the next line replaces the '\', and so on.
 * Adds the number of lines of the file to *n.
 */
static char *
cut_line(char **rest, size_t *n)
{
	char *line = strsep(rest, "\n"), *end, *more;

	++*n;
	while (*rest) {
		end = line + strlen(line);
		if (end > line && end[-1] == '\r')
			end--;
		if (end == line || end[-1] != '\\' || has_comment(line))
			break;
		more = strsep(rest, "\n");
		more += strspn(more, WHITE);
		memmove(end - 1, more, strlen(more) + 1);
		++*n;
	}
	return line;
}

/*
 * Reads a file to its end, or up to a NUL byte, and says whether it has one.
 * Returns a secret, or NULL with errno.
 */
static char *
read_text(int fd, bool *nul)
{
	size_t size = READ_SIZE, used = 0;
	char *text = secret_new(size), *more;
	ssize_t n;

	*nul = false;
	while (text && !*nul && (n = read(fd, text + used, READ_SIZE - 1))) {
		if (n == -1) {
			secret_free(text);
			return NULL;
		}
		*nul = memchr(text + used, '\0', (size_t)n) != NULL;
		used += (size_t)n;
		if (size - used >= READ_SIZE)
			continue;
		more = secret_new(size *= 2);
		if (more)
			memcpy(more, text, used);
		secret_free(text);
		text = more;
	}
	return text;
}

/* Adds the lines of a file. A NUL byte is an error. */
static int
add_lines(struct config_lines *all, const char *shown, FILE *f)
{
	char *text, *line, *rest, origin[512];
	size_t n = 0, first;
	bool nul;
	int result = 0;

	snprintf(origin, sizeof(origin), "%.480s: ", shown);
	rest = text = read_text(fileno(f), &nul);
	if (!text)
		result = line_failed(origin, strerror(errno));
	while (rest) {
		first = n + 1;
		line = cut_line(&rest, &n);
		snprintf(origin, sizeof(origin), "%.480s:%zu: ", shown, first);
		if (!rest && nul)
			result =
			    line_failed(origin, "a NUL byte: this is no text");
		else
			result |= add_line(all, origin, line);
	}
	secret_free(text);
	return result;
}

static int
read_file(struct config_lines *all, const char *path, const struct stat *st,
    bool again)
{
	char *shown = mask_copy(path);
	const char *why = shown ? NULL : "out of memory";
	FILE *f = NULL;
	int result = -1;

	if (!why && again && st && !S_ISREG(st->st_mode))
		why = "only a regular file is read again";
	else if (!why && !(f = fopen(path, "re")))
		why = strerror(errno);
	if (why)
		log_error("%.480s: %s", shown ? shown : "", why);
	else
		result = add_lines(all, shown, f);
	wipe_and_free(shown);
	if (f)
		fclose(f);
	return result;
}

static int
is_conf(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return *entry->d_name != '.' && dot && strcmp(dot, ".conf") == 0;
}

/* Compares bytes, so that the order does not depend on the locale. */
static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int
lines_read(struct config_lines *all, const char *path, bool again)
{
	struct dirent **names;
	struct stat st;
	char *file;
	int n, result = 0, known = stat(path, &st) == 0;

	if (!known || !S_ISDIR(st.st_mode))
		return read_file(all, path, known ? &st : NULL, again);
	n = scandir(path, &names, is_conf, by_name);
	if (n == -1) {
		log_error("%.480s: %s", path, strerror(errno));
		return -1;
	}
	for (int i = 0; i < n; i++) {
		if (asprintf(&file, "%s/%s", path, names[i]->d_name) == -1)
			file = NULL;
		if (!file || stat(file, &st) == -1)
			result |= line_failed(path, ": a file of it is gone");
		else
			result |= read_file(all, file, &st, again);
		wipe_and_free(file);
		wipe_and_free(names[i]);
	}
	wipe_and_free(names);
	return result;
}

void
lines_free(struct config_lines *all)
{
	for (size_t i = 0; i < all->count; i++)
		free_line(&all->items[i]);
	wipe_and_free(all->items);
	*all = (struct config_lines){0};
}
