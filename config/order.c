/* Writes messages on lines of files in the order of the lines. */

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "config/order.h"

#include "base/log.h"
#include "base/secret.h"

struct kept_line {
	char *text;
	size_t length;        /* of the text */
	size_t head;          /* bytes of the text in front of FILE */
	size_t file;          /* length of FILE; 0: the text has no FILE:LINE */
	unsigned long number; /* LINE */
};

static struct order {
	struct kept_line *items;
	size_t count;
	pid_t owner; /* of the lines */
} order;

/* Finds FILE and LINE, if the text begins with "FILE:LINE: ". */
static void
find_origin(struct kept_line *line)
{
	const char *text = line->text + line->head, *colon = text, *s;

	if (*text == '\'')
		return;
	while ((colon = strstr(colon, ": "))) {
		for (s = colon; s > text && strchr("0123456789", s[-1]);)
			s--;
		if (s < colon && s > text && s[-1] == ':') {
			line->file = (size_t)(s - text);
			line->number = strtoul(s, NULL, 10);
			return;
		}
		colon++;
	}
}

/*
 * Returns the index of a new line: in front of those of greater number in its
 * file, else behind the last line of its file, else behind all.
 */
static size_t
find_index(const struct kept_line *added)
{
	size_t index = order.count;

	for (size_t i = order.count; i > 0 && added->file; i--) {
		const struct kept_line *line = &order.items[i - 1];

		if (line->file != added->file ||
		    memcmp(line->text + line->head, added->text + added->head,
			added->file) != 0)
			continue;
		if (line->number <= added->number)
			return index < order.count ? index : i;
		index = i - 1;
	}
	return index;
}

/* Keeps a line. Returns false if it is to be written at once. */
static bool
keep_line(const char *text, size_t head, size_t length)
{
	struct kept_line line = {.length = length, .head = head}, *items;
	size_t index;

	if (getpid() != order.owner)
		return false;
	items = realloc(order.items, (order.count + 1) * sizeof(*items));
	if (!items)
		return false;
	order.items = items;
	line.text = strndup(text, length);
	if (!line.text)
		return false;
	find_origin(&line);
	index = find_index(&line);
	memmove(items + index + 1, items + index,
	    (order.count++ - index) * sizeof(*items));
	items[index] = line;
	return true;
}

void
order_begin(void)
{
	order.owner = getpid();
	log_divert(keep_line);
}

void
order_end(void)
{
	log_divert(NULL);
	for (size_t i = 0; i < order.count; i++) {
		log_write(order.items[i].text, order.items[i].length);
		wipe_and_free(order.items[i].text);
	}
	wipe_and_free(order.items);
	order = (struct order){0};
}
