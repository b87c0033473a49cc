/* Reads maps from arguments and files, and the passwords that they name. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config.h"

#include "base/log.h"
#include "config/check.h"
#include "config/map.h"
#include "config/mask.h"
#include "config/value.h"

#define WHITE         " \t\r\v\f"
#define AUTH_LINE_MAX 600

const struct map config_builtin = {
    .times = {.connect = 10000,
	.half_close = 3600000,
	.udp_one_way = 30000,
	.udp = 120000},
    .limits = {.flows = 4096},
    .src = {.kind = EP_ANY},
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

void
config_free_maps(struct config *conf)
{
	for (size_t i = 0; i < conf->n_maps; i++)
		map_free(&conf->maps[i]);
	free(conf->maps);
}

void
config_free(struct config *conf)
{
	config_free_maps(conf);
	map_free(&conf->defaults);
	free(conf->command_line.text);
	free(conf->command_line.masked);
	free(conf->gost_listen);
	free(conf->gost_forward);
}

/* Logs an error found at origin: "", "FILE: " or "FILE:LINE: ". Returns -1. */
static int
read_failed(const char *origin, const char *why)
{
	log_error("%s%s", origin, why);
	return -1;
}

/*
 * Opens a file. On a reload only a regular file, because a pipe has no more
 * data and reading it may block. Returns NULL if *why is set.
 */
static FILE *
open_file(struct config *conf, const char *file, const char **why)
{
	struct stat st;
	FILE *f = NULL;

	*why = NULL;
	conf->has_files = true;
	if (conf->reloading && stat(file, &st) == 0 && !S_ISREG(st.st_mode))
		*why = "only a regular file is read again";
	else if (!(f = fopen(file, "re")))
		*why = strerror(errno);
	return f;
}

/* Logs an error with the value of auth=, which may be a password by mistake. */
static int
auth_file_failed(const struct map *map, const char *file, const char *why)
{
	static const char key[] = ",auth=";
	char *text = NULL;

	if (asprintf(&text, "%s%s", key, file) == -1)
		return read_failed(map->origin, "out of memory");
	mask_text(text);
	log_error("%s'%.160s': '%.160s': %s", map->origin, map->spec,
	    text + strlen(key), why);
	free(text);
	return -1;
}

/* Reads USER:PASSWORD from the first line of a file, unless file is NULL. */
static int
read_auth_file(struct config *conf, const struct map *map, const char *file,
    char **user, char **password)
{
	char line[AUTH_LINE_MAX] = "";
	const char *why;
	FILE *f;

	if (!file)
		return 0;
	f = open_file(conf, file, &why);
	if (f && !fgets(line, sizeof(line), f) && ferror(f))
		why = strerror(errno);
	if (f)
		fclose(f);
	line[strcspn(line, "\r\n")] = '\0';
	if (!why)
		why = parse_user_password(line, user, password);
	explicit_bzero(line, sizeof(line));
	return why ? auth_file_failed(map, file, why) : 0;
}

/* Looks up a user that the map names, unless text is NULL. */
static int
read_cred(const struct map *map, const char *text, struct cred *cred)
{
	const char *why = text ? parse_cred(cred, text) : NULL;

	if (!why)
		return 0;
	log_error("%s'%.160s': '%.160s': %s", map->origin, map->spec, text,
	    why);
	return -1;
}

/* Looks up the users that the map names, and reads its users from files. */
static int
read_users(struct config *conf, struct map *map)
{
	if (read_cred(map, map->owner, &map->owner_cred) == -1 ||
	    read_cred(map, map->run_as, &map->run_cred) == -1 ||
	    read_auth_file(conf, map, map->auth_file, &map->user,
		&map->password) == -1)
		return -1;
	for (size_t i = 0; i < map->n_hops; i++)
		if (read_auth_file(conf, map, map->hops[i].auth_file,
			&map->hops[i].user, &map->hops[i].password) == -1)
			return -1;
	return 0;
}

/* Completes the map that was added last. */
static int
finish_map(struct config *conf, const char *origin)
{
	struct map *map = &conf->maps[conf->n_maps - 1];

	map->origin = strdup(origin);
	if (!map->origin)
		return read_failed(origin, "out of memory");
	if (read_users(conf, map) == -1 || check_host_names(map) == -1)
		return -1;
	return check_last_listener(conf);
}

/* Adds a map. masked is where the masked copy of spec begins. */
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
	log_error("%s'%.*s': column %td: '%.*s': %s", origin,
	    shown_length(spec), masked, bad_part - spec + 1, length,
	    masked + (bad_part - spec), why);
	return -1;
}

/* Adds a map that is no part of a longer text. */
static int
add_single_map(struct config *conf, const char *origin, const char *spec)
{
	char *masked = mask_copy(spec);
	int result = masked ? add_map(conf, origin, spec, masked)
			    : read_failed(origin, "out of memory");

	free(masked);
	return result;
}

/*
 * Returns why one of several arguments is no map, and sets *bad to it; or NULL
 * if each may be a map. A line of a file is one map.
 */
static const char *
explain_bad_args(bool is_line, char *const *args, int n, char **bad)
{
	for (int i = 1; i < n; i++) {
		const char *left = strchr(args[i - 1], '=');
		const char *right = strchr(args[i], '=');

		*bad = args[left ? i - 1 : i];
		if (left ? !left[1] && !right : right == args[i])
			return "no spaces around '='";
	}
	*bad = args[1];
	if (n == 2 && !strchr(args[0], '=') && strchr(args[1], '=') &&
	    *strpbrk(args[1], ",=") == ',')
		return "LISTEN TARGET takes no KEY=VALUE: write LISTEN=TARGET";
	return is_line ? "one map a line, as LISTEN=TARGET... or LISTEN TARGET"
		       : NULL;
}

/* Adds the map of two arguments, LISTEN TARGET. */
static int
add_pair(struct config *conf, const char *origin, char *const *args)
{
	char *spec;
	int result;

	if (asprintf(&spec, "%s=%s", args[0], args[1]) == -1)
		return read_failed(origin, "out of memory");
	result = add_single_map(conf, origin, spec);
	free(spec);
	return result;
}

/*
 * Adds the maps of n arguments of a text, which is a line if it has an origin.
 */
static int
add_args(struct config *conf, const char *origin, char *const *args, int n,
    const struct masked_text *text)
{
	const char *why;
	char *bad;
	int result = 0;

	if (n == 2 && !strchr(args[0], '=') && !strchr(args[1], '='))
		return add_pair(conf, origin, args);
	why = n > 1 ? explain_bad_args(*origin, args, n, &bad) : NULL;
	if (why) {
		log_error("%s'%.*s': %s", origin, shown_length(bad),
		    masked_part(text, bad), why);
		return -1;
	}
	for (int i = 0; i < n && result == 0; i++)
		result =
		    add_map(conf, origin, args[i], masked_part(text, args[i]));
	return result;
}

static int
add_line(struct config *conf, const char *origin, char *line)
{
	char *args[3], *rest, *arg;
	const struct masked_text text = {line, mask_copy(line)};
	int n = 0, result;

	if (!text.masked)
		return read_failed(origin, "out of memory");
	arg = strtok_r(line, WHITE, &rest);
	for (; arg && *arg != '#' && n < 3; n++) {
		args[n] = arg;
		arg = strtok_r(NULL, WHITE, &rest);
	}
	result = add_args(conf, origin, args, n, &text);
	free(text.masked);
	return result;
}

/* Adds the lines of a file. A NUL byte is an error. */
static int
add_lines(struct config *conf, const char *file, FILE *f)
{
	char *text = NULL, *line, *rest = NULL, origin[512];
	size_t size = 0, n = 1;
	ssize_t length;
	int result = 0;

	snprintf(origin, sizeof(origin), "%.480s: ", file);
	length = getdelim(&text, &size, '\0', f);
	if (ferror(f) || (length == -1 && !feof(f)))
		result = read_failed(origin, strerror(errno));
	else if (length > 0)
		rest = text;
	while (result == 0 && (line = strsep(&rest, "\n"))) {
		snprintf(origin, sizeof(origin), "%.480s:%zu: ", file, n++);
		if (!rest && line + strlen(line) != text + length)
			result =
			    read_failed(origin, "a NUL byte: this is no text");
		else
			result = add_line(conf, origin, line);
	}
	free(text);
	return result;
}

static int
add_file(struct config *conf)
{
	char *masked = mask_copy(conf->file);
	const char *why;
	FILE *f = open_file(conf, conf->file, &why);
	int result = -1;

	if (!masked)
		why = "out of memory";
	if (f && masked)
		result = add_lines(conf, masked, f);
	else
		log_error("%.480s: %s", masked ? masked : "", why);
	free(masked);
	if (f)
		fclose(f);
	return result;
}

/* Adds the maps of -L, each with the hops of -F. */
static int
add_gost_maps(struct config *conf)
{
	const char *line = conf->gost_listen ? conf->gost_listen : "";
	const char *hops = conf->gost_forward ? conf->gost_forward : "";
	int result = 0, length;
	char *spec;

	for (; *line && result == 0; line += length + 1) {
		length = (int)strcspn(line, "\n");
		if (asprintf(&spec, "%.*s%s", length, line, hops) == -1)
			return read_failed("", "out of memory");
		result = add_single_map(conf, "", spec);
		free(spec);
	}
	return result;
}

int
config_read(struct config *conf)
{
	if ((conf->file && add_file(conf) == -1) ||
	    add_args(conf, "", conf->args, conf->n_args, &conf->command_line) ==
		-1 ||
	    add_gost_maps(conf) == -1 || check_chains(conf) == -1)
		return -1;
	if (conf->gost_forward && !conf->gost_listen) {
		log_error("-F is for -L (a map has via=)");
		return -1;
	}
	if (check_stdio(conf) == -1 || check_pin(conf) == -1)
		return -1;
	if (conf->n_maps > 0)
		return 0;
	log_error(
	    "no map in %.*s: write LISTEN=TARGET (nsfwd --help says more)",
	    conf->file ? shown_length(conf->file) : -1,
	    conf->file ? masked_part(&conf->command_line, conf->file)
		       : "the command line");
	return -1;
}

int
config_reread(const struct config *conf, struct config *fresh)
{
	if (!conf->has_files) {
		log_error("there is no file to read again (--config)");
		return -1;
	}
	*fresh = *conf;
	fresh->maps = NULL;
	fresh->n_maps = 0;
	fresh->reloading = true;
	if (config_read(fresh) == 0)
		return 0;
	config_free_maps(fresh);
	return -1;
}
