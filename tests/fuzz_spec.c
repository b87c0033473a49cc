/*
 * Fuzzes the parsers of a map, a GOST option, a duration and a count, and
 * mask_text(). A map that is accepted must print as a spec that is accepted and
 * prints alike. mask_text() must leave no password in a text, right or wrong.
 */

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "config/config.h"
#include "config/gost.h"
#include "config/map.h"
#include "config/mask.h"
#include "config/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * Two sets of defaults: built-in ones, and those of --from, --to and other
 * options.
 */
static const struct map base = {
    .times = {.connect = 10000, .half_close = 3600000},
    .limits = {.flows = 4096},
    .src = {.kind = EP_ANY},
    .udp_address = {.kind = EP_ANY},
};
static char from[] = "from", to[] = "#/to";
static const struct map other = {
    .listen_ns = {.kind = NS_NAME, .spec = from},
    .target_ns = {.kind = NS_PATH, .spec = to},
    .times = {.idle = 1500, .half_close = 86400000, .udp_one_way = 1},
    .limits = {.flows = 1, .per_source = 3},
};

static char *
print(const struct map *map)
{
	char *word = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&word, &length);

	if (!out)
		abort();
	map_print(out, map, &base);
	if (fclose(out) != 0 || strlen(word) != length)
		abort();
	return word;
}

static void
check_error(const char *word, const char *why, const char *part, int length)
{
	size_t column = (size_t)(part - word), all = strlen(word);

	if (!why[0] || column > all || length < 0 ||
	    (size_t)length > all - column)
		abort();
}

static bool
secret(const struct map *map)
{
	bool found = map->password;

	for (size_t i = 0; i < map->n_hops; i++)
		found |= map->hops[i].password != NULL;
	return found;
}

/* The password in the texts of this test. */
#define MARKER "k9XqZ"

/* Aborts if the marker, which is in a password and nowhere else, is shown. */
static void
check_shown(const struct map *map)
{
	const char *exact = map->exact ? map->exact : map->spec;
	const char *mark = strstr(exact, MARKER);
	bool inside = map->password && strstr(map->password, MARKER);
	char *printed;

	for (size_t i = 0; i < map->n_hops; i++)
		inside |= map->hops[i].password &&
		    strstr(map->hops[i].password, MARKER);
	if (!inside || strstr(mark + 1, MARKER))
		return;
	printed = print(map);
	if (strstr(map->spec, MARKER) || strstr(printed, MARKER))
		abort();
	free(printed);
}

/* Inserts a password in several forms, right and wrong, and checks the mask. */
static void
check_mask(const char *word)
{
	static const char *const shapes[] = {"auth=u:" MARKER,
	    "via-auth=u:" MARKER, "auht=u:" MARKER, "auth:u:" MARKER,
	    "Auth = u:" MARKER, "pass=" MARKER, "u:" MARKER "@h:1",
	    "x://" MARKER "@h:1", "http://u:a,b=c&d?e/f@" MARKER "@h:1"};
	size_t at = strcspn(word, ",= ");
	char *text, *shown;

	if (!word[at++] || strstr(word, MARKER))
		return;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		if (asprintf(&text, "%.*s%s%s%s", (int)at, word, shapes[i],
			word[at] ? "," : "", word + at) == -1)
			abort();
		shown = strdup(text);
		if (!shown)
			abort();
		mask_text(shown);
		if (strlen(shown) != strlen(text) || strstr(shown, MARKER)) {
			fprintf(stderr, "%s\n%s\n", text, shown);
			abort();
		}
		free(shown);
		free(text);
	}
}

/* Returns the text with the marker in place of the first '!'. */
static char *
marked(const char *word)
{
	size_t length = strcspn(word, "!");
	char *text;

	if (asprintf(&text, "%.*s%s%s", (int)length, word,
		word[length] ? MARKER : "",
		word + length + !!word[length]) == -1)
		abort();
	return text;
}

static void
check_word(const char *word, const struct map *defaults)
{
	const char *why, *part;
	char *once, *twice;
	struct map map;
	int length;

	why = map_parse(&map, word, defaults, &part, &length);
	if (why) {
		check_error(word, why, part, length);
		return;
	}
	if (strcmp(map.exact ? map.exact : map.spec, word) != 0 ||
	    strlen(map.spec) != strlen(word))
		abort();
	check_shown(&map);
	once = print(&map);
	if (secret(&map)) {
		/*
		 * The password is not printed, so the printed text is no map.
		 */
		map_free(&map);
		if (!map_parse(&map, once, &base, &part, &length))
			abort();
		free(once);
		return;
	}
	map_free(&map);
	if (map_parse(&map, once, &base, &part, &length))
		abort();
	twice = print(&map);
	map_free(&map);
	if (strcmp(once, twice) != 0)
		abort();
	free(once);
	free(twice);
}

/* Translates the text as -L and as -F; parses the maps that result. */
static void
check_gost(const char *word)
{
	const struct gost_word words[] = {{word, false}, {":80", false},
	    {"tcp://:81", false}, {word, true}};
	static const int ranges[][2] = {{0, 1}, {1, 3}, {2, 2}, {0, 4}};
	struct gost_error error;
	char *maps, *rest, *line;
	const char *why;

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		why = gost_translate(words + ranges[i][0], (size_t)ranges[i][1],
		    &maps, &error);
		if (why)
			check_error(error.word->arg, why, error.bad_part,
			    error.length);
		rest = maps;
		while (!why && (line = strsep(&rest, "\n")))
			if (*line)
				check_word(line, &base);
		secret_free(maps);
	}
}

/* Parses the whole input as a duration and as a count. */
static void
check_numbers(const char *text)
{
	msec timeout = 0;
	uint32_t count;

	if (!parse_duration(text, &timeout) &&
	    (timeout < 0 || timeout > 24 * (msec)86400000))
		abort();
	for (uint32_t least = 0; least < 2; least++)
		if (!parse_count(text, least, &count) &&
		    (count < least || count > 1000000))
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = calloc(1, size + 1), *text;

	if (!copy)
		abort();
	memcpy(copy, data, size);
	text = marked(copy);
	check_word(text, &base);
	check_gost(text);
	check_mask(copy);
	free(text);
	check_word(copy, &base);
	check_word(copy, &other);
	check_gost(copy);
	check_numbers(copy);
	free(copy);
	return 0;
}
