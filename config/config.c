/* Reads maps, from words and files, and what they name. */

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/log.h"
#include "base/sandbox.h"
#include "base/text.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "config/mask.h"
#include "netns.h"

#define WHITE     " \t\r\v\f"
#define SHOWN_MAX 160

/* A name, or a number that need not have one. */
const char *
parse_cred(struct cred *cred, const char *value)
{
	char name[256];
	size_t length = strcspn(value, ":");
	const char *group = value[length] ? value + length + 1 : NULL;
	const struct passwd *user;
	const struct group *entry = NULL;
	bool number;

	if (!length || length >= sizeof(name))
		return "no user";
	memcpy(name, value, length);
	name[length] = '\0';
	number = parse_uint(name, 0, INT32_MAX, &cred->uid);
	user = number ? getpwuid(cred->uid) : getpwnam(name);
	if (!user && !number)
		return "no such user";
	cred->uid = user ? user->pw_uid : cred->uid;
	cred->gid = user ? user->pw_gid : cred->uid;
	cred->explicit = true;
	if (!group || parse_uint(group, 0, INT32_MAX, &cred->gid))
		return NULL;
	entry = getgrnam(group);
	cred->gid = entry ? entry->gr_gid : cred->gid;
	return entry ? NULL : "no such group";
}

/* Where it was found is "", "FILE: " or "FILE:LINE: ". */
static int
fail(const char *where, const char *why)
{
	log_error("%s%s", where, why);
	return -1;
}

/* A pipe was read to its end at the start, and who reads it again may wait. */
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

/* A new string, or NULL. */
static char *
masked(const char *text)
{
	char *copy = strdup(text);

	if (copy)
		mask_text(copy);
	return copy;
}

/* Why the file of a password cannot be had: it may be one by mistake. */
static int
fail_secret(const struct map *map, const char *file, const char *why)
{
	static const char key[] = ",auth=";
	char *text = NULL;

	if (asprintf(&text, "%s%s", key, file) == -1)
		return fail(map->origin, "out of memory");
	mask_text(text);
	log_error("%s'%.160s': '%.160s': %s", map->origin, map->spec,
	    text + strlen(key), why);
	free(text);
	return -1;
}

/* USER:PASSWORD, the first line of a file that a map names. */
static int
read_auth_file(struct config *conf, const struct map *map, const char *file,
    char **user, char **password)
{
	char line[600] = "";
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
	return why ? fail_secret(map, file, why) : 0;
}

/* A namespace may have the name of a host, or is meant by NAME:PORT. */
static int
check_hosts(const struct map *map)
{
	size_t count = map->n_hops || map->target_ns.spec ? 0 : map->n_targets;

	for (size_t i = 0; i < count; i++) {
		const struct endpoint *to = &map->targets[i];
		struct ns ns;
		bool found;

		if (to->kind != EP_HOST || map_set_ns(&ns, to->name))
			continue;
		found = ns.kind == NS_NAME && ns_id(&ns) != 0;
		ns_free(&ns);
		if (!found)
			continue;
		log_error("%s'%.160s': '%s': a namespace has this name: write "
			  "%s@%s (or self@%s for the host)",
		    map->origin, map->spec, to->arg, to->name,
		    strrchr(to->arg, ':') + 1, to->arg);
		return -1;
	}
	return 0;
}

/* What the word of a map names and the system knows. */
static int
read_owner_and_auth(struct config *conf, struct map *map)
{
	const char *why =
	    map->owner ? parse_cred(&map->owner_cred, map->owner) : NULL;
	int result = why ? -1
			 : read_auth_file(conf, map, map->auth_file, &map->user,
			       &map->password);

	if (why)
		log_error("%s'%.160s': '%.160s': %s", map->origin, map->spec,
		    map->owner, why);
	for (size_t i = 0; i < map->n_hops && result == 0; i++)
		result = read_auth_file(conf, map, map->hops[i].auth_file,
		    &map->hops[i].user, &map->hops[i].password);
	return result == 0 ? check_hosts(map) : result;
}

/* Known before anything is bound, where bind(2) would speak of somebody else. */
static int
check_conflict(const struct config *conf)
{
	const struct map *map = &conf->maps[conf->n_maps - 1];

	for (const struct map *m = conf->maps; m < map; m++)
		if (map_conflicts(m, map)) {
			log_error("%s'%.160s': it listens where '%.160s' does",
			    map->origin, map->spec, m->spec);
			return -1;
		}
	return 0;
}

/*
 * Follows maps to those that they lead to. *seen of each is 1 while it is on
 * the way, 2 when no way from it comes back. A way of that many maps is enough.
 */
static int
follow_chain(const struct config *conf, const struct map *map, char *seen,
    int left)
{
	const struct map *end = conf->maps + conf->n_maps;
	int result = 0;

	seen[map - conf->maps] = 1;
	for (const struct map *m = conf->maps; m < end && result == 0; m++) {
		char *state = &seen[m - conf->maps];

		if (*state == 2 || !left || !map_leads_to(map, m))
			continue;
		if (*state == 0) {
			result = follow_chain(conf, m, seen, left - 1);
			continue;
		}
		log_error("%s'%.160s': its target is '%.160s', which leads "
			  "back to it: name another port or address, or a "
			  "namespace NS@",
		    map->origin, map->spec, m->spec);
		result = -1;
	}
	seen[map - conf->maps] = 2;
	return result;
}

int
config_check(const struct config *conf)
{
	char *seen = calloc(conf->n_maps + 1, 1);
	int result = 0;

	if (!seen)
		return fail("", "out of memory");
	for (size_t i = 0; i < conf->n_maps && result == 0; i++)
		if (!seen[i])
			result = follow_chain(conf, &conf->maps[i], seen, 1000);
	free(seen);
	return result;
}

/* Of what is shown of a word, not more than leaves room for the reason. */
static int
length_of(const char *word)
{
	return (int)strnlen(word, SHOWN_MAX);
}

/* A message has as much of shown as the word is long. */
static int
add_map(struct config *conf, const struct map *defaults, const char *where,
    const char *word, const char *shown)
{
	const char *part, *why;
	struct map *map;
	int length;

	map = realloc(conf->maps, (conf->n_maps + 1) * sizeof(*map));
	if (!map)
		return fail(where, "out of memory");
	conf->maps = map;
	map += conf->n_maps;
	why = map_parse(map, word, defaults, &part, &length);
	if (!why) {
		conf->n_maps++;
		map->origin = strdup(where);
		if (!map->origin)
			return fail(where, "out of memory");
		return read_owner_and_auth(conf, map) == -1
		    ? -1
		    : check_conflict(conf);
	}
	log_error("%s'%.*s': column %td: '%.*s': %s", where, length_of(word),
	    shown, part - word + 1, length, shown + (part - word), why);
	return -1;
}

/* The same, shown by itself. */
static int
add_word(struct config *conf, const struct map *defaults, const char *where,
    const char *word)
{
	char *shown = masked(word);
	int result = shown ? add_map(conf, defaults, where, word, shown)
			   : fail(where, "out of memory");

	free(shown);
	return result;
}

/* Why these words are no maps, as a stray '=' or the line tells, and which. */
static const char *
explain_bad_args(bool line, char *const *word, int words, char **bad)
{
	for (int i = 1; i < words; i++) {
		const char *left = strchr(word[i - 1], '=');
		const char *right = strchr(word[i], '=');

		*bad = word[left ? i - 1 : i];
		if (left ? !left[1] && !right : right == word[i])
			return "no spaces around '='";
	}
	*bad = word[1];
	if (words == 2 && !strchr(word[0], '=') && strchr(word[1], '=') &&
	    *strpbrk(word[1], ",=") == ',')
		return "LISTEN TARGET takes no KEY=VALUE: write LISTEN=TARGET";
	return line ? "one map a line, as LISTEN=TARGET... or LISTEN TARGET"
		    : NULL;
}

/* LISTEN and TARGET may be two words; else a line of a file has but one. */
int
config_add_args(struct config *conf, const struct map *defaults,
    const char *where, char *const *word, int words, const struct shown *shown)
{
	char *joined, *bad;
	const char *why;
	int result = 0;

	if (words == 2 && !strchr(word[0], '=') && !strchr(word[1], '=')) {
		if (asprintf(&joined, "%s=%s", word[0], word[1]) == -1)
			return fail(where, "out of memory");
		result = add_word(conf, defaults, where, joined);
		free(joined);
		return result;
	}
	why = words > 1 ? explain_bad_args(*where, word, words, &bad) : NULL;
	if (why) {
		log_error("%s'%.*s': %s", where, length_of(bad),
		    shown->shown + (bad - shown->text), why);
		return -1;
	}
	for (int i = 0; i < words && result == 0; i++)
		result = add_map(conf, defaults, where, word[i],
		    shown->shown + (word[i] - shown->text));
	return result;
}

static int
add_line(struct config *conf, const struct map *defaults, const char *where,
    char *line)
{
	char *word[3], *rest, *next, *copy = masked(line);
	const struct shown shown = {line, copy};
	int words = 0, result;

	if (!copy)
		return fail(where, "out of memory");
	next = strtok_r(line, WHITE, &rest);
	for (; next && *next != '#' && words < 3; words++) {
		word[words] = next;
		next = strtok_r(NULL, WHITE, &rest);
	}
	result = config_add_args(conf, defaults, where, word, words, &shown);
	free(copy);
	return result;
}

/* All of the file, or up to a NUL, a line at a time. */
static int
add_lines(struct config *conf, const struct map *defaults, const char *file,
    FILE *f)
{
	char *text = NULL, *line, *rest = NULL, where[512];
	size_t size = 0, n = 1;
	ssize_t length;
	int result = 0;

	snprintf(where, sizeof(where), "%.480s: ", file);
	length = getdelim(&text, &size, '\0', f);
	if (ferror(f) || (length == -1 && !feof(f)))
		result = fail(where, strerror(errno));
	else if (length > 0)
		rest = text;
	while (result == 0 && (line = strsep(&rest, "\n"))) {
		snprintf(where, sizeof(where), "%.480s:%zu: ", file, n++);
		if (!rest && line + strlen(line) != text + length)
			result = fail(where, "a NUL byte: this is no text");
		else
			result = add_line(conf, defaults, where, line);
	}
	free(text);
	return result;
}

int
config_add_file(struct config *conf, const struct map *defaults,
    const char *file)
{
	char *shown = masked(file);
	const char *why;
	FILE *f = open_file(conf, file, &why);
	int result = -1;

	if (!shown)
		why = "out of memory";
	if (f && shown)
		result = add_lines(conf, defaults, shown, f);
	else
		log_error("%.480s: %s", shown ? shown : "", why);
	free(shown);
	if (f)
		fclose(f);
	return result;
}

int
config_add_gost(struct config *conf, const struct map *defaults,
    const char *listen, const char *forward)
{
	int result = 0, length;
	char *word;

	for (; *listen && result == 0; listen += length + 1) {
		length = (int)strcspn(listen, "\n");
		if (asprintf(&word, "%.*s%s", length, listen, forward) == -1)
			return fail("", "out of memory");
		result = add_word(conf, defaults, "", word);
		free(word);
	}
	return result;
}
