/* Says what to write in place of an unknown option or key. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "config/unknown.h"

#include "base/log.h"
#include "base/nearest.h"
#include "config/gost_key.h"
#include "config/gost_scheme.h"
#include "config/habit.h"
#include "config/key.h"
#include "config/lines.h"
#include "config/mask.h"
#include "config/options.h"

#define NAME_SIZE 64

/*
 * Writes which options resemble the first length bytes of a word, each behind
 * prefix.
 */
static const char *
nearest_options(char *buf, const char *word, size_t length, const char *prefix)
{
	size_t dashes = strspn(word, "-");
	char text[NAME_SIZE];
	struct nearest near = {.name = text};

	snprintf(text, sizeof(text), "%.*s", (int)(length - dashes),
	    word + dashes);
	if (length < sizeof(text) && *text)
		options_add_nearest(&near);
	return nearest_format(&near, buf, prefix);
}

int
unknown_option(const struct masked_text *all, const char *arg, size_t length,
    const char *next)
{
	char text[HABIT_SIZE], advice[HABIT_SIZE], names[NEAREST_SIZE];
	const char *gost = gost_option_advice(arg);
	const char *masked = masked_part(all, arg);
	int shown = shown_length(arg);

	while (((unsigned char)arg[length] & 0xc0) == 0x80)
		length++;
	snprintf(text, sizeof(text), "%.*s%s%.*s", shown, masked,
	    next ? " " : "", next ? shown_length(next) : 0,
	    next ? masked_part(all, next) : "");
	if ((size_t)shown > length)
		shown = (int)length;
	if (habit_advice(advice, HABIT_OPTION, text, strlen(text)))
		log_error("unknown option '%.*s': %s", shown, masked, advice);
	else if (gost)
		log_error("'%.*s' is an option of GOST: %s",
		    (int)strcspn(arg, "="), masked, gost);
	else
		log_error("unknown option '%.*s' (%snsfwd --help lists them)",
		    shown, masked,
		    nearest_options(names, arg, strcspn(arg, "="), "--"));
	return -1;
}

/* Returns true if the nearest name is the name itself. */
static bool
is_first_name(const char *names, const char *name, size_t length)
{
	names += strlen("nearest: ");
	return strncmp(names, name, length) == 0 && strchr(",;", names[length]);
}

const char *
unknown_key(char *buf, const char *why, const char *name, int length)
{
	char text[NAME_SIZE], names[NEAREST_SIZE];
	struct nearest near = {.name = text};

	if (why != key_unknown && why != gost_key_unknown)
		return why;
	snprintf(text, sizeof(text), "%.*s", length, name);
	if (why == key_unknown)
		key_add_nearest(&near);
	else
		gost_key_add_nearest(&near);
	snprintf(buf, UNKNOWN_SIZE, "%s (%s%s)", why,
	    nearest_format(&near, names, ""),
	    why == key_unknown ? "nsfwd --help lists them"
			       : "nsfwd(1), FROM GOST");
	return buf;
}

bool
unknown_line_option(const struct config_line *line)
{
	const char *word = line->words[0];
	size_t dashes = strspn(word, "-"),
	       length = strspn(word, "abcdefghijklmnopqrstuvwxyz-_");
	char names[NEAREST_SIZE];

	if (length < dashes + 3 || (word[length] && word[length] != '=') ||
	    line->n_words > 2 || key_exists(word, length) ||
	    !*nearest_options(names, word, length, ""))
		return false;
	if (is_first_name(names, word + dashes, length - dashes))
		log_error("%soption '%.*s': for the command line only",
		    line->origin, (int)length, word);
	else
		log_error("%sunknown option '%.*s' (%snsfwd --help lists them)",
		    line->origin, (int)length, word, names);
	return true;
}
