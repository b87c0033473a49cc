/* Reads the options of the command line. */

#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include <stddef.h>

#include "config/config.h"

struct gost_word;

struct options {
	struct config config;
	int log_level; /* enum log_level */
	int check, help, version;
	struct gost_word *gost_words; /* -L and -F, while options are read */
	size_t n_gost_words;
};

extern const char options_help[];

/*
 * Reads the options from args, which end with NULL and point into the text of
 * config.command_line. Moves the other arguments to the front, for config.args.
 * Returns 0, or -1 with the reason logged.
 */
int options_parse(struct options *, char **args);

#endif
