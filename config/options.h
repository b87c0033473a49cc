/* Reads the options of the command line. */

#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

struct config_line;
struct gost_word;
struct nearest;

enum check {
	CHECK_NONE,
	CHECK_ALL,
	CHECK_SYNTAX /* nothing is asked of the system */
};

enum rules {
	RULES_NONE,
	RULES_REDIRECT, /* print them; of TCP by REDIRECT */
	RULES_TPROXY    /* of TCP by TPROXY, as those of UDP always are */
};

struct options {
	struct config config;
	int log_level; /* enum log_level */
	int check;     /* enum check */
	int rules;     /* enum rules */
	int help, version;
	int test;           /* dial each target, and exit */
	int top;            /* show what a server does, again and again */
	const char *status; /* NAME, or "": show what a server does; or NULL */
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

/* Calls nearest_add() with each long option, without "--". */
void options_add_nearest(struct nearest *);

/* Returns true if a line of a file begins with the long name of an option. */
bool options_is_line(const struct config_line *);

/*
 * Sets the option of such a line, and returns 1; or sets it in `overridden`,
 * and returns 0, if the command line has it. Returns -1 with the reason logged
 * if it is wrong, in either case.
 */
int options_set_line(struct options *, struct options *overridden,
    const struct config_line *);

/*
 * Reads the options of the command line of conf once more, into *o, which
 * options_free_again() releases in any case. Returns as options_parse() does.
 * The text is not copied.
 */
int options_parse_again(struct options *o, const struct config *conf);
void options_free_again(struct options *);

#endif
