/* Reads the files of --config into lines of words. */

#ifndef CONFIG_LINES_H
#define CONFIG_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "config/mask.h"

#define LINE_WORDS 3 /* words that are kept; a correct line has at most 2 */

struct config_line {
	char *origin;            /* "FILE:LINE: "; owned */
	struct masked_text text; /* that the words point into; owned */
	char *words[LINE_WORDS];
	int n_words; /* at least 1 */
};

struct config_lines {
	struct config_line *items; /* owned */
	size_t count;
};

/*
 * Appends the lines of a file that have a word. For a directory, appends those
 * of its files whose names end with ".conf", in the order of the names. With
 * `again` only regular files are read, because a pipe has no more data and
 * reading the pipe may block. Returns 0, or -1 with the reason logged.
 * lines_free() releases the lines in either case.
 */
int lines_read(struct config_lines *, const char *path, bool again);
void lines_free(struct config_lines *);

#endif
