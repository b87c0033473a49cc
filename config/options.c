/* Reads the options of the command line. */

#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/options.h"

#include "base/array.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/secret.h"
#include "config/gost.h"
#include "config/gost_scheme.h"
#include "config/habit.h"
#include "config/lines.h"
#include "config/map.h"
#include "config/mask.h"
#include "config/stats.h"
#include "config/unknown.h"
#include "config/value.h"
#include "netns.h"

enum option_kind {
	SET_FLAG,
	SET_FILE, /* this kind and those below take a value */
	SET_CONFIG,
	SET_SOCKET,
	SET_GOST,
	SET_NS,
	SET_TIME,
	SET_COUNT,
	SET_WORKERS,
	SET_USER,
	SET_FD,
	SET_MODE, /* this kind and that below take a value only behind '=' */
	SET_STATUS
};

#define AT(member) offsetof(struct options, member)

static const struct option {
	const char *name;
	enum option_kind kind;
	size_t offset; /* into struct options */
	int value;     /* that a flag sets; least count; for -F 1, for -L 0; of
		      mode_words */
} options[] = {
    {"-c", SET_CONFIG, AT(config), 0},
    {"--config", SET_CONFIG, AT(config), 0},
    {"-L", SET_GOST, AT(gost_words), 0},
    {"-F", SET_GOST, AT(gost_words), 1},
    {"--check", SET_MODE, AT(check), 0},
    {"--rules", SET_MODE, AT(rules), 1},
    {"--test", SET_FLAG, AT(test), 1},
    {"--status", SET_STATUS, AT(status), 0},
    {"--top", SET_FLAG, AT(top), 1},
    {"--from", SET_NS, AT(config.defaults.listen_ns), 0},
    {"--to", SET_NS, AT(config.defaults.target_ns), 0},
    {"--wait", SET_FLAG, AT(config.wait_for_ns), 1},
    {"-d", SET_FLAG, AT(config.daemonize), 1},
    {"--daemon", SET_FLAG, AT(config.daemonize), 1},
    {"-P", SET_FILE, AT(config.pidfile), 0},
    {"--pidfile", SET_FILE, AT(config.pidfile), 0},
    {"--stats", SET_SOCKET, AT(config.stats), 0},
    {"--syslog", SET_FLAG, AT(config.syslog), 1},
    {"--ready-fd", SET_FD, AT(config.ready_fd), 0},
    {"--max-conns", SET_COUNT, AT(config.max_conns), 1},
    {"--workers", SET_WORKERS, AT(config.defaults.workers), 0},
    {"--connect-timeout", SET_TIME, AT(config.defaults.times.connect), 0},
    {"--idle-timeout", SET_TIME, AT(config.defaults.times.idle), 0},
    {"--half-close-timeout", SET_TIME, AT(config.defaults.times.half_close), 0},
    {"--udp-timeout", SET_TIME, AT(config.defaults.times.udp), 0},
    {"--udp-one-way-timeout", SET_TIME, AT(config.defaults.times.udp_one_way),
	0},
    {"--drain", SET_TIME, AT(config.drain_timeout), 0},
    {"--user", SET_USER, AT(config.owner_cred), 0},
    {"--no-sandbox", SET_FLAG, AT(config.no_sandbox), 1},
    {"--pin", SET_FLAG, AT(config.pin), 1},
    {"-v", SET_FLAG, AT(log_level), LOG_VERBOSE},
    {"--verbose", SET_FLAG, AT(log_level), LOG_VERBOSE},
    {"-q", SET_FLAG, AT(log_level), LOG_WARNING},
    {"--quiet", SET_FLAG, AT(log_level), LOG_WARNING},
    {"-h", SET_FLAG, AT(help), 1},
    {"--help", SET_FLAG, AT(help), 1},
    {"-V", SET_FLAG, AT(version), 1},
    {"--version", SET_FLAG, AT(version), 1},
};

/* Refuses bytes that NS@ of a map cannot have, because --check prints NS@. */
static const char *
set_ns(struct ns *ns, const char *value)
{
	static const char why[] =
	    "a namespace has no '=', ',', '@', white space or control byte";
	const char *wrong;
	char *prefix, *end;
	struct ns parsed;
	bool whole;

	for (const char *s = value; *s; s++)
		if (iscntrl((unsigned char)*s) || strchr(" =,", *s))
			return why;
	if (asprintf(&prefix, "%s@", value) == -1)
		return "out of memory";
	end = map_ns_end(prefix);
	whole = !end[1];
	wipe_and_free(prefix);
	if (!whole)
		return why;
	wrong = map_set_ns(&parsed, value);
	if (wrong)
		return wrong;
	ns_free(ns);
	*ns = parsed;
	return NULL;
}

static const char *
set_ready_fd(int *ready_fd, const char *value)
{
	uint32_t fd;
	const char *why = parse_count(value, 0, &fd);
	int flags;

	if (why)
		return why;
	flags = fcntl((int)fd, F_GETFL);
	if (flags == -1 || (flags & O_ACCMODE) == O_RDONLY)
		return "no descriptor that is open for writing";
	*ready_fd = (int)fd;
	return NULL;
}

static const char *
set_file(char **file, const char *value)
{
	if (*file)
		return "a second file";
	*file = strdup(value);
	return *file ? NULL : "out of memory";
}

static const char *
add_config(struct config *conf, const char *value)
{
	const char **files =
	    realloc(conf->files, (conf->n_files + 1) * sizeof(*files));

	if (!files)
		return "out of memory";
	conf->files = files;
	files[conf->n_files++] = value;
	return NULL;
}

/* Sets 1 without a value, and 2 with the value of the option. */
static const char *
set_mode(int *mode, int option, const char *value)
{
	static const char *const mode_words[][2] = {
	    {"syntax", "syntax, or no value at all"},
	    {"tproxy", "tproxy, or no value at all"},
	};

	if (value || *mode == 0)
		*mode = value ? 2 : 1;
	return value && strcmp(value, mode_words[option][0]) != 0
	    ? mode_words[option][1]
	    : NULL;
}

static bool
wants_value(const struct option *option)
{
	return option->kind != SET_FLAG && option->kind < SET_MODE;
}

/* Sets the field of an option. Returns NULL, or why the value is wrong. */
static const char *
set_option(const struct option *option, void *field, const char *value)
{
	const char *why;

	if (option->kind == SET_FLAG) {
		*(int *)field = option->value;
		return value ? "no value is taken" : NULL;
	}
	if (option->kind == SET_MODE)
		return set_mode(field, option->value, value);
	if (option->kind == SET_STATUS) {
		*(const char **)field = value ? value : "";
		return NULL;
	}
	if (!value)
		return "its value is missing";
	switch (option->kind) {
	case SET_SOCKET:
		why = stats_check(value);
		return why ? why : set_file(field, value);
	case SET_CONFIG:
		return add_config(field, value);
	case SET_FILE:
		return set_file(field, value);
	case SET_NS:
		return set_ns(field, value);
	case SET_TIME:
		return parse_duration(value, field);
	case SET_COUNT:
		return parse_count(value, (uint32_t)option->value, field);
	case SET_WORKERS:
		return parse_workers(value, field);
	case SET_USER:
		return parse_cred(field, value);
	case SET_FLAG:
	case SET_MODE:
	case SET_STATUS:
	case SET_GOST: /* see add_gost_word() */
	case SET_FD:
		break;
	}
	return set_ready_fd(field, value);
}

/* Accepts no abbreviation, because a new option would change its meaning. */
static const struct option *
find_option(const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (strlen(options[i].name) == length &&
		    memcmp(options[i].name, name, length) == 0)
			return &options[i];
	return NULL;
}

static const char *
masked_arg(const struct options *o, const char *arg)
{
	return masked_part(&o->config.command_line, arg);
}

static int
add_gost_word(struct options *o, const char *value, bool forward)
{
	size_t n = o->n_gost_words;
	struct gost_word *words;
	char advice[HABIT_SIZE];

	if (habit_advice(advice, HABIT_GOST, masked_arg(o, value),
		strlen(value))) {
		log_error("option '%s': '%.*s': %s", forward ? "-F" : "-L",
		    shown_length(value), masked_arg(o, value), advice);
		return -1;
	}
	words = realloc(o->gost_words, (n + 1) * sizeof(*words));
	if (!words) {
		log_error("out of memory");
		return -1;
	}
	o->gost_words = words;
	o->gost_words[o->n_gost_words++] = (struct gost_word){value, forward};
	return 0;
}

/* Translates the values of -L and -F. */
static int
translate_gost_words(struct options *o)
{
	struct gost_error error;
	char key[UNKNOWN_SIZE];
	const char *why = o->n_gost_words
	    ? gost_translate(o->gost_words, o->n_gost_words,
		  &o->config.gost_maps, &error)
	    : NULL;

	if (why)
		log_error("option '%s': '%.*s': '%.*s': %s",
		    error.word->forward ? "-F" : "-L",
		    shown_length(error.word->arg),
		    masked_arg(o, error.word->arg), error.length,
		    masked_arg(o, error.bad_part),
		    unknown_key(key, why, masked_arg(o, error.bad_part),
			error.length));
	return why ? -1 : 0;
}

/* Sets an option, to the next argument if it needs a value and has none. */
static int
parse_option(struct options *o, const struct option *option, const char *value,
    char ***next)
{
	void *field = (char *)o + option->offset;
	const char *why;

	if (wants_value(option) && !value)
		value = **next ? *(*next)++ : "";
	if (wants_value(option) && !*value) {
		log_error("option '%s': its value is missing", option->name);
		return -1;
	}
	if (value && option->kind == SET_GOST)
		return add_gost_word(o, value, option->value);
	if (value && field == &o->top) {
		log_error("option '--top' takes no value: write --status=%.*s "
			  "--top",
		    shown_length(value), masked_arg(o, value));
		return -1;
	}
	why = set_option(option, field, value);
	o->config.options_seen |= (uint64_t)1 << (option - options);
	if (!why)
		return 0;
	log_error("option '%s': '%.*s': %s", option->name, shown_length(value),
	    masked_arg(o, value), why);
	return -1;
}

/*
 * Finds the option that a word names by its long name, up to '='. Returns NULL
 * for one that cannot stand in a file.
 */
static const struct option *
find_line_option(const char *word)
{
	static const char *const others[] = {"--config", "--check", "--rules",
	    "--test", "--status", "--top", "--help", "--version"};
	char name[32];
	const struct option *option;
	size_t length;

	if (strncmp(word, "--", 2) == 0)
		word += 2;
	length = strcspn(word, "=");
	if (length < 2 || length + 2 >= sizeof(name))
		return NULL;
	snprintf(name, sizeof(name), "--%.*s", (int)length, word);
	option = find_option(name, length + 2);
	for (size_t i = 0; option && i < ARRAY_LEN(others); i++)
		if (strcmp(name, others[i]) == 0)
			return NULL;
	return option;
}

void
options_add_nearest(struct nearest *n)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (options[i].name[1] == '-')
			nearest_add(n, options[i].name + 2);
}

bool
options_is_line(const struct config_line *line)
{
	return find_line_option(line->words[0]) != NULL;
}

/* Compares fields, because two names of an option set the same field. */
static bool
on_command_line(const struct options *o, const struct option *option)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (o->config.options_seen >> i & 1 &&
		    options[i].offset == option->offset)
			return true;
	return false;
}

int
options_set_line(struct options *o, struct options *overridden,
    const struct config_line *line)
{
	const struct option *option = find_line_option(line->words[0]);
	const bool counts = !on_command_line(o, option);
	char *equals = strchr(line->words[0], '=');
	const char *value = equals ? equals + 1 : line->words[1];
	const char *why = NULL;

	if (line->n_words > (equals ? 1 : 2))
		why = "one option a line";
	else if (wants_value(option) && (!value || !*value))
		why = "its value is missing";
	if (why) {
		log_error("%soption '%s': %s", line->origin, option->name + 2,
		    why);
		return -1;
	}
	why = set_option(option,
	    (char *)(counts ? o : overridden) + option->offset, value);
	if (!why)
		return counts;
	log_error("%soption '%s': '%.*s': %s", line->origin, option->name + 2,
	    shown_length(value), masked_part(&line->text, value), why);
	return -1;
}

/* Parses "--name", "--name=value", "-abc" or "-cvalue". */
static int
parse_arg(struct options *o, char *arg, char ***next)
{
	bool letters = arg[1] != '-';
	size_t length = strcspn(arg, letters ? "" : "=");
	const char *value = arg[length] ? arg + length + 1 : NULL;
	const char *s = arg;
	const struct option *option;

	do {
		s++;
		option = letters ? find_option((char[]){'-', *s}, 2)
				 : find_option(arg, length);
		if (!option)
			return unknown_option(&o->config.command_line, arg,
			    letters ? (size_t)(s - arg) + 1 : length, **next);
		if (letters && wants_value(option) && s[1])
			value = s + 1;
		if (parse_option(o, option, value, next) == -1)
			return -1;
	} while (letters && !wants_value(option) && s[1]);
	return 0;
}

/* Refuses GOST's "--", which begins another process, in front of -L or -F. */
static bool
gost_option_follows(const char *arg)
{
	if (strncmp(arg, "-L", 2) != 0 && strncmp(arg, "-F", 2) != 0)
		return false;
	log_error("'--' in front of '%.2s': one nsfwd serves every -L, through "
		  "every -F: leave it out, or start another nsfwd",
	    arg);
	return true;
}

static int
parse_args(struct options *o, char **args)
{
	char **next = args;
	bool only_maps = false; /* "--" was seen */

	o->config.args = args;
	o->config.n_args = 0;
	while (*next) {
		char *arg = *next++;

		if (only_maps && gost_option_follows(arg))
			return -1;
		/* "-" and "-=TARGET" are maps */
		if (only_maps || arg[0] != '-' || !arg[1] || arg[1] == '=')
			args[o->config.n_args++] = arg;
		else if (strcmp(arg, "--") == 0)
			only_maps = true;
		else if (parse_arg(o, arg, &next) == -1)
			return -1;
	}
	return 0;
}

int
options_parse(struct options *o, char **args)
{
	int result = parse_args(o, args);

	if (result == 0)
		result = translate_gost_words(o);
	wipe_and_free(o->gost_words);
	return result;
}

int
options_parse_again(struct options *o, const struct config *conf)
{
	char **args = config_split_args(conf, 0);

	*o = (struct options){0};
	config_init(&o->config);
	o->config.command_line = conf->command_line;
	if (args)
		return options_parse(o, args);
	log_error("out of memory");
	return -1;
}

void
options_free_again(struct options *o)
{
	o->config.command_line = (struct masked_text){0};
	wipe_and_free(o->config.args);
	config_free(&o->config);
}
