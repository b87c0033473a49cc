/* Says why several words are no maps, and which map they may mean. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "config/words.h"

#include "config/cure.h"
#include "config/habit.h"
#include "config/key.h"
#include "config/mask.h"

static const char one_map_a_line[] =
    "one map a line, as LISTEN=TARGET... or LISTEN TARGET";

static const char no_map_word[] =
    "not a map: LISTEN TARGET is one map alone, several are LISTEN=TARGET";

bool
words_are_pair(char *const *args)
{
	return !strchr(args[0], '=') && !strchr(args[1], '=');
}

/* Returns true if the word is LISTEN or TARGET, perhaps with KEY=VALUE. */
static bool
is_endpoint(const char *word)
{
	return word[strcspn(word, ",=")] != '=';
}

static bool
is_key_value(const char *word)
{
	return key_exists(word, strcspn(word, "=")) && strchr(word, '=');
}

/*
 * Returns why two or more arguments are no maps, and sets *bad to the wrong
 * argument; or NULL if each may be a map. A line of a file may have one map.
 */
static const char *
explain_bad_args(bool is_line, char *const *args, int n, char **bad)
{
	bool pair = is_endpoint(args[0]) && is_endpoint(args[1]);

	for (int i = 1; i < n; i++) {
		const char *left = strchr(args[i - 1], '=');
		const char *right = strchr(args[i], '=');

		*bad = args[left ? i - 1 : i];
		if (left ? !left[1] && !right : right == args[i])
			return "no spaces around '='";
	}
	*bad = args[pair && n > 2 ? 2 : 1];
	if (pair && (n == 2 || is_key_value(args[2])))
		return "LISTEN TARGET takes no KEY=VALUE";
	if (is_line)
		return one_map_a_line;
	return pair && !strchr(args[2], '=') ? no_map_word : NULL;
}

/*
 * Writes the map that the arguments are without the white space between them.
 * Returns false if they are none.
 */
static bool
join_args(char *buf, char *const *args, int n, const struct masked_text *text)
{
	size_t used = 0, length;
	bool equals = false;

	for (int i = 0; i < n; i++, used += length) {
		bool apart = used && !strchr("=,", buf[used - 1]) &&
		    !strchr("=,", *args[i]);

		length = strlen(args[i]);
		if (used + length + 2 > HABIT_SIZE ||
		    (apart && equals && !is_key_value(args[i])))
			return false;
		if (apart)
			buf[used++] = "=,"[equals];
		equals |= apart || strchr(args[i], '=');
		memcpy(buf + used, masked_part(text, args[i]), length);
	}
	buf[used] = '\0';
	return cure_is_map(buf);
}

/* Returns advice on the first argument that is a habit, *bad; or NULL. */
static const char *
explain_habit(char *advice, char *const *args, int n,
    const struct masked_text *text, char **bad)
{
	for (int i = 0; i < n; i++) {
		if (!habit_advice(advice, HABIT_MAP, masked_part(text, args[i]),
			strlen(args[i])))
			continue;
		*bad = args[i];
		return advice;
	}
	return NULL;
}

/* Returns advice on arguments that are a habit together; or NULL. */
static const char *
habit_of_words(char *buf, char *const *args, int n,
    const struct masked_text *text)
{
	char words[HABIT_SIZE];
	size_t used = 0;

	for (int i = 0; i < n && used < sizeof(words); i++)
		used += (size_t)snprintf(words + used, sizeof(words) - used,
		    "%s%.*s", i ? " " : "", shown_length(args[i]),
		    masked_part(text, args[i]));
	return used < sizeof(words)
	    ? habit_advice(buf, HABIT_WORDS, words, used)
	    : NULL;
}

const char *
words_advice(char *buf, bool is_line, char *const *args, int n,
    const struct masked_text *text, char **bad)
{
	char map[HABIT_SIZE];
	bool joined = join_args(map, args, n, text);
	const char *why;

	*bad = args[0];
	if (!joined && habit_of_words(buf, args, n, text))
		return buf;
	if (n == 2 && words_are_pair(args))
		return NULL;
	why = explain_bad_args(is_line, args, n, bad);
	if (joined) {
		snprintf(buf, HABIT_SIZE, "%s: write %.400s",
		    why && why != one_map_a_line ? why : "a map is one word",
		    map);
		return buf;
	}
	if (why == one_map_a_line && explain_habit(buf, args, n, text, bad))
		return buf;
	if (why)
		snprintf(buf, HABIT_SIZE, "%s", why);
	return why ? buf : NULL;
}
