/*
 * Fuzzes the parsers of a map, a span of time and a count: what is accepted
 * prints as a word that is accepted and prints as the same word.
 */

#include <stdlib.h>
#include <string.h>

#include "nsfwd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Built in, and as --from and --to and a few options may leave them. */
static const struct defaults base = {
    .times = {.connect = 10000, .idle = 0, .half_close = 3600000},
};
static char from[] = "tcp:from", to[] = "#/to";
static const struct defaults other = {
    .from = {.kind = NS_NAME, .text = from},
    .to = {.kind = NS_PATH, .text = to},
    .times = {.connect = 0, .idle = 1500, .half_close = 86400000},
};

static char *
print(const struct map *map)
{
	int length = spec_print(map, &base, NULL, 0);
	char *word = malloc((size_t)length + 1);

	if (!word || spec_print(map, &base, word, (size_t)length + 1) != length)
		abort();
	return word;
}

static void
check_error(const char *word, const struct spec_error *error)
{
	size_t length = strlen(word);

	if (error->column < 1 || error->column - 1 > length ||
	    error->length > length - (error->column - 1) || !error->reason[0])
		abort();
}

static void
check_word(const char *word, const struct defaults *defaults)
{
	struct spec_error error;
	struct map map;
	char *once, *twice;

	if (spec_parse(&map, word, defaults, &error) < 0) {
		check_error(word, &error);
		return;
	}
	once = print(&map);
	spec_free(&map);
	if (spec_parse(&map, once, &base, &error) < 0)
		abort();
	twice = print(&map);
	spec_free(&map);
	if (strcmp(once, twice) != 0)
		abort();
	free(once);
	free(twice);
}

/* The whole input as a span and a count, with no NUL behind it. */
static void
check_numbers(const char *text, size_t size)
{
	const char *why = NULL;
	deadline span;
	uint32_t count;

	if (spec_time(text, size, &span, &why) < 0) {
		if (!why)
			abort();
	} else if (span < 0 || span > 24 * (deadline)86400000)
		abort();
	if (spec_count(text, size, 2, 99, &count, &why) == 0 &&
	    (count < 2 || count > 99))
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
	free(copy);
	check_numbers((const char *)data, size);
	return 0;
}
