/*
 * Fuzzes the parsers of a map, a word of GOST, a span of time and a count: what
 * is accepted prints as a word that is accepted and prints as the same word.
 */

#include <stdlib.h>
#include <string.h>

#include "nsfwd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Built in, and as --from and --to and a few options may leave them. */
static const struct map base = {
    .times = {.connect = 10000, .half_close = 3600000},
    .max = {.flows = 4096},
    .src = {.kind = SIDE_ANY},
};
static char from[] = "from", to[] = "#/to";
static const struct map other = {
    .from = {.kind = NS_NAME, .text = from},
    .to = {.kind = NS_PATH, .text = to},
    .times = {.idle = 1500, .half_close = 86400000, .one_way = 1},
    .max = {.flows = 1, .source = 3},
};

static char *
print(const struct map *map)
{
	char *word = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&word, &length);

	if (!out)
		abort();
	spec_print(out, map, &base);
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

	for (size_t i = 0; i < map->hops; i++)
		found |= map->hop[i].password != NULL;
	return found;
}

static void
check_word(const char *word, const struct map *usual)
{
	const char *why, *part;
	char *once, *twice;
	struct map map;
	int length;

	why = spec_parse(&map, word, usual, &part, &length);
	if (why) {
		check_error(word, why, part, length);
		return;
	}
	if (strcmp(map.word, word) != 0 && !strstr(word, "auth="))
		abort();
	once = print(&map);
	if (secret(&map)) {
		/* It is not printed: that is no word then. */
		spec_free(&map);
		if (!spec_parse(&map, once, &base, &part, &length))
			abort();
		free(once);
		return;
	}
	spec_free(&map);
	if (spec_parse(&map, once, &base, &part, &length))
		abort();
	twice = print(&map);
	spec_free(&map);
	if (strcmp(once, twice) != 0)
		abort();
	free(once);
	free(twice);
}

/* As -L and as -F; what is accepted is a word, right or wrong. */
static void
check_gost(const char *word)
{
	char *text;
	const char *why;

	for (int forward = 0; forward < 2; forward++) {
		text = NULL;
		why = gost_translate(word, forward, &text);
		if (!text || (why && !why[0]) || (!why && strchr(text, '\n')))
			abort();
		if (!why && !forward)
			check_word(text, &base);
		free(text);
	}
}

/* The whole input as a span and a count. */
static void
check_numbers(const char *text)
{
	deadline span = 0;
	uint32_t count;

	if (!spec_time(text, &span) &&
	    (span < 0 || span > 24 * (deadline)86400000))
		abort();
	for (uint32_t least = 0; least < 2; least++)
		if (!spec_count(text, least, &count) &&
		    (count < least || count > 1000000))
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = calloc(1, size + 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	check_word(copy, &base);
	check_word(copy, &other);
	check_gost(copy);
	check_numbers(copy);
	free(copy);
	return 0;
}
