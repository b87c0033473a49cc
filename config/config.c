/* Reads maps from arguments and files. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

#include "base/log.h"
#include "base/secret.h"
#include "config/check.h"
#include "config/habit.h"
#include "config/lines.h"
#include "config/map.h"
#include "config/mask.h"
#include "config/options.h"
#include "config/unknown.h"
#include "config/users.h"
#include "config/value.h"
#include "config/words.h"

#define ERRORS_MAX 20 /* wrong lines that are logged */

const struct map config_builtin = {
    .times = {.connect = 10000,
	.half_close = 3600000,
	.udp_one_way = 30000,
	.udp = 120000},
    .limits = {.flows = 4096},
    .src = {.kind = EP_ANY},
    .udp_address = {.kind = EP_ANY},
};

void
config_init(struct config *conf)
{
	*conf = (struct config){
	    .defaults = config_builtin,
	    .max_conns = 1024,
	    .drain_timeout = 30000,
	    .ready_fd = -1,
	};
}

char **
config_split_args(const struct config *conf, size_t n)
{
	const struct masked_text *t = &conf->command_line;
	char *text = t->text, *end = text + strlen(t->masked);
	char **args = calloc(n + (size_t)(end - text) + 2, sizeof(*args));

	for (; args && text <= end; text += strlen(text) + 1)
		args[n++] = text;
	return args;
}

void
config_free_maps(struct config *conf)
{
	for (size_t i = 0; i < conf->n_maps; i++)
		map_free(&conf->maps[i]);
	wipe_and_free(conf->maps);
}

void
config_free(struct config *conf)
{
	config_free_maps(conf);
	map_free(&conf->defaults);
	secret_free(conf->command_line.text);
	wipe_and_free(conf->command_line.masked);
	wipe_and_free(conf->files);
	wipe_and_free(conf->pidfile);
	wipe_and_free(conf->stats);
	secret_free(conf->gost_maps);
}

/* Logs an error found at origin: "", "FILE: " or "FILE:LINE: ". Returns -1. */
static int
read_failed(const char *origin, const char *why)
{
	log_error("%s%s", origin, why);
	return -1;
}

/* Reads what the last map names, and compares the map with the others. */
static int
finish_map(struct config *conf, const char *origin)
{
	struct map *map = &conf->maps[conf->n_maps - 1];

	map->origin = strdup(origin);
	if (!map->origin)
		return read_failed(origin, "out of memory");
	if (users_read(conf, map) == -1 || check_host_names(map) == -1 ||
	    check_own_redirect(map) == -1)
		return -1;
	return check_last_listener(conf);
}

/*
 * Returns advice on an address of a list that begins at masked[part]; or NULL.
 */
static const char *
item_advice(char *buf, const char *masked, size_t part)
{
	size_t key = part;

	while (key > 0 && masked[key - 1] != ',')
		key--;
	/* Behind dns= a slash is in front of a port. */
	if (!key || !strchr("=+", masked[part - 1]) ||
	    strncmp(masked + key, "dns=", 4) == 0)
		return NULL;
	return habit_advice(buf, HABIT_ITEM, masked + part,
	    strcspn(masked + part, ",+ "));
}

/* Logs why a spec is no map, with `length` bytes of bad_part. Returns -1. */
static int
bad_map(const char *origin, const char *spec, const char *masked,
    const char *bad_part, int length, const char *why)
{
	char buf[HABIT_SIZE], key[UNKNOWN_SIZE];
	size_t part = (size_t)(bad_part - spec);
	const char *advice = habit_advice(buf, HABIT_MAP, masked, strlen(spec));

	if (!advice)
		advice = item_advice(buf, masked, part);
	if (!advice)
		advice = habit_single(buf, masked, strlen(spec));
	if (advice)
		log_error("%s'%.*s': %s", origin, shown_length(spec), masked,
		    advice);
	else
		log_error("%s'%.*s': column %zu: '%.*s': %s", origin,
		    shown_length(spec), masked, part + 1, length, masked + part,
		    unknown_key(key, why, masked + part, length));
	return -1;
}

/* Parses spec, whose masked copy begins at masked, and adds the map. */
static int
add_map(struct config *conf, const char *origin, const char *spec,
    const char *masked)
{
	const char *bad_part, *why;
	struct map *maps;
	int length;

	maps = realloc(conf->maps, (conf->n_maps + 1) * sizeof(*maps));
	if (!maps)
		return read_failed(origin, "out of memory");
	conf->maps = maps;
	why = map_parse(&maps[conf->n_maps], spec, &conf->defaults, &bad_part,
	    &length);
	if (!why) {
		conf->n_maps++;
		return finish_map(conf, origin);
	}
	return bad_map(origin, spec, masked, bad_part, length, why);
}

/* Masks and parses spec, which is all of its text, and adds the map. */
static int
add_single_map(struct config *conf, const char *origin, const char *spec)
{
	char *masked = mask_copy(spec);
	int result = masked ? add_map(conf, origin, spec, masked)
			    : read_failed(origin, "out of memory");

	wipe_and_free(masked);
	return result;
}

/* Logs why an argument is wrong. Returns -1. */
static int
bad_arg(const char *origin, const char *arg, const struct masked_text *text,
    const char *why)
{
	log_error("%s'%.*s': %s", origin, shown_length(arg),
	    masked_part(text, arg), why);
	return -1;
}

/* Adds the map of two arguments, LISTEN TARGET. */
static int
add_pair(struct config *conf, const char *origin, char *const *args)
{
	char *spec;
	int result;

	spec = malloc(strlen(args[0]) + strlen(args[1]) + 2);
	if (!spec)
		return read_failed(origin, "out of memory");
	stpcpy(stpcpy(stpcpy(spec, args[0]), "="), args[1]);
	result = add_single_map(conf, origin, spec);
	wipe_and_free(spec);
	return result;
}

/*
 * Adds the maps of n arguments. They are the words of a line of a file if
 * origin is not "".
 */
static int
add_args(struct config *conf, const char *origin, char *const *args, int n,
    const struct masked_text *text)
{
	char advice[HABIT_SIZE], *bad;
	int result = 0;

	if (n > 1 && words_advice(advice, *origin, args, n, text, &bad))
		return bad_arg(origin, bad, text, advice);
	if (n == 2 && words_are_pair(args))
		return add_pair(conf, origin, args);
	for (int i = 0; i < n; i++)
		result |=
		    add_map(conf, origin, args[i], masked_part(text, args[i]));
	return result;
}

static uint64_t
hash_line(uint64_t hash, const struct config_line *line)
{
	const char *c;

	for (int k = 0; k < line->n_words; k++) {
		c = line->words[k];
		do
			hash = (hash ^ (unsigned char)*c) * 1099511628211U;
		while (*c++);
	}
	return hash;
}

/*
 * Sets the options in the lines, and their hash. To be called before any map is
 * parsed, because the options are defaults of all maps. Returns 0, or -1
 * logged.
 */
static int
set_options(struct config *conf, const struct config_lines *lines,
    struct options *o)
{
	struct options overridden = {0};
	int result = 0, set;

	config_init(&overridden.config);
	conf->options_hash = 14695981039346656037U; /* FNV-1a */
	for (size_t i = 0; i < lines->count; i++) {
		const struct config_line *line = &lines->items[i];

		if (!options_is_line(line))
			continue;
		set = options_set_line(o, &overridden, line);
		if (set == -1)
			result = -1;
		else if (set)
			conf->options_hash =
			    hash_line(conf->options_hash, line);
	}
	config_free(&overridden.config);
	return result;
}

/* Adds the maps of the lines, up to the wrong line number ERRORS_MAX. */
static int
add_lines_maps(struct config *conf, const struct config_lines *lines)
{
	int errors = 0;

	for (size_t i = 0; i < lines->count && errors < ERRORS_MAX; i++) {
		const struct config_line *line = &lines->items[i];

		if (options_is_line(line))
			continue;
		if (!unknown_line_option(line) &&
		    add_args(conf, line->origin, line->words, line->n_words,
			&line->text) == 0)
			continue;
		if (++errors == ERRORS_MAX)
			log_error("%s%d wrong lines: the rest is not read",
			    line->origin, errors);
	}
	return errors ? -1 : 0;
}

/* Adds the maps of all files, and sets their options. */
static int
add_files(struct config *conf, struct options *o)
{
	struct config_lines lines = {0};
	int result = 0;

	for (size_t i = 0; i < conf->n_files; i++)
		result |= lines_read(&lines, conf->files[i], conf->reloading);
	conf->has_files |= conf->n_files > 0;
	result |= set_options(conf, &lines, o);
	result |= add_lines_maps(conf, &lines);
	lines_free(&lines);
	return result;
}

static int
add_gost_maps(struct config *conf)
{
	char *lines = strdup(conf->gost_maps ? conf->gost_maps : "");
	char *rest = lines, *line;
	int result = 0;

	if (!lines)
		return read_failed("", "out of memory");
	while ((line = strsep(&rest, "\n")))
		if (*line)
			result |= add_single_map(conf, "", line);
	wipe_and_free(lines);
	return result;
}

/* Returns 0 if there is a map; or -1, and logs where maps can be written. */
static int
check_not_empty(const struct config *conf)
{
	const char *file = conf->n_files == 1 ? conf->files[0] : NULL;

	if (conf->n_maps > 0)
		return 0;
	log_error(
	    "no map in %.*s: write LISTEN=TARGET (nsfwd --help says more)",
	    file ? shown_length(file) : -1,
	    file                ? masked_part(&conf->command_line, file)
		: conf->n_files ? "the files"
				: "the command line");
	return -1;
}

static int
add_all_maps(struct config *conf, struct options *o)
{
	int result = add_files(conf, o);

	result |=
	    add_args(conf, "", conf->args, conf->n_args, &conf->command_line);
	return result | add_gost_maps(conf);
}

int
config_read(struct config *conf, struct options *o)
{
	int result = add_all_maps(conf, o);

	wipe_stack(); /* here, because children have a copy of it */
	if (result || check_chains(conf) == -1)
		return -1;
	return check_stdio(conf) == -1 || check_pin(conf) == -1 ||
		check_stats(conf) == -1
	    ? -1
	    : check_not_empty(conf);
}

/* Reads the maps, with the options in force. */
static int
read_maps_again(struct config *fresh)
{
	struct options unused = {0};
	int result;

	config_init(&unused.config);
	unused.config.options_seen = fresh->options_seen;
	result = config_read(fresh, &unused);
	config_free(&unused.config);
	if (result == -1)
		config_free_maps(fresh);
	return result;
}

int
config_reread(const struct config *conf, struct config *fresh,
    struct options *next)
{
	struct config *start = &next->config;

	*next = (struct options){0};
	if (!conf->has_files) {
		log_error("there is no file to read again (--config)");
		return -1;
	}
	if (options_parse_again(next, conf) == -1)
		return -1;
	start->reloading = true;
	if (config_read(start, next) == -1)
		return -1;
	*fresh = *conf;
	fresh->reloading = true;
	fresh->maps = NULL;
	fresh->n_maps = 0;
	if (start->options_hash != conf->options_hash) {
		log_info("an option in a file has changed: it counts at the "
			 "next start");
		return read_maps_again(fresh);
	}
	fresh->maps = start->maps;
	fresh->n_maps = start->n_maps;
	start->maps = NULL;
	start->n_maps = 0;
	return 0;
}
