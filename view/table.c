/* Parses the answer of a server, and prints it. */

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "view/table.h"

#define COLUMNS_MAX     32
#define NUMBER_SIZE     32
#define FIRST_WIDTH_MIN 16

enum cell_kind {
	CELL_TEXT,
	CELL_COUNT,
	CELL_BYTES,
	CELL_SPAN /* in milliseconds */
};

/* The title and kind of a column. Others are text, titled by their name. */
static const struct column {
	const char *name, *title;
	enum cell_kind kind;
} columns[] = {
    {"open", "OPEN", CELL_COUNT},
    {"total", "TOTAL", CELL_COUNT},
    {"failed", "FAILED", CELL_COUNT},
    {"refused", "REFUSED", CELL_COUNT},
    {"up", "UP", CELL_BYTES},
    {"down", "DOWN", CELL_BYTES},
    {"up_s", "UP/S", CELL_BYTES},
    {"down_s", "DOWN/S", CELL_BYTES},
    {"age_ms", "AGE", CELL_SPAN},
    {"error_ms", "AGO", CELL_SPAN},
    {"error", "LAST ERROR", CELL_TEXT},
};

static size_t
count_bytes(const char *text, size_t length, char byte)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++)
		n += text[i] == byte;
	return n;
}

/*
 * Cuts the text into cells. Returns false if a line has another number of
 * fields than the first one, or no newline.
 */
static bool
cut_cells(struct view_table *t)
{
	char **cell = t->cells, *text = t->text, *end;
	size_t length;

	for (size_t row = 0; row < t->n_rows; row++) {
		length = strcspn(text, "\n");
		if (count_bytes(text, length, '\t') + 1 != t->n_columns)
			return false;
		for (size_t i = 0; i < t->n_columns; i++) {
			end = text + strcspn(text, "\t\n");
			*end = '\0';
			*cell++ = text;
			text = end + 1;
		}
	}
	return true;
}

bool
view_table_parse(struct view_table *t, char *text)
{
	size_t length = strcspn(text, "\n");

	*t = (struct view_table){
	    .text = text,
	    .n_columns = count_bytes(text, length, '\t') + 1,
	    .n_rows = count_bytes(text, strlen(text), '\n'),
	};
	if (t->n_rows == 0 || t->n_columns < 2 || t->n_columns > COLUMNS_MAX)
		return false;
	t->cells = calloc(t->n_rows * t->n_columns, sizeof(*t->cells));
	return t->cells && cut_cells(t);
}

void
view_table_free(struct view_table *t)
{
	free(t->text);
	free(t->cells);
	*t = (struct view_table){0};
}

const char *
view_cell(const struct view_table *t, size_t row, size_t column)
{
	return t->cells[row * t->n_columns + column];
}

size_t
view_column(const struct view_table *t, const char *name)
{
	size_t i = 0;

	while (i < t->n_columns && strcmp(view_cell(t, 0, i), name) != 0)
		i++;
	return i;
}

static enum cell_kind
kind_of(const struct view_table *t, size_t column)
{
	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		if (strcmp(columns[i].name, view_cell(t, 0, column)) == 0)
			return columns[i].kind;
	return CELL_TEXT;
}

/* Writes a number of bytes with three digits at most before its unit. */
static void
format_bytes(char *buf, unsigned long long n)
{
	static const char units[] = "KMGTPE";
	double value = (double)n;
	int unit = -1;

	for (; value >= 999.5; unit++)
		value /= 1024;
	if (unit < 0)
		snprintf(buf, NUMBER_SIZE, "%llu", n);
	else
		snprintf(buf, NUMBER_SIZE, value < 9.95 ? "%.1f%c" : "%.0f%c",
		    value, units[unit]);
}

static void
format_span(char *buf, unsigned long long ms)
{
	static const struct {
		unsigned long long ms;
		const char *unit;
	} units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"},
	    {1, "ms"}};
	size_t i = 0;

	while (i < ARRAY_LEN(units) - 1 &&
	    ms < units[i].ms * (units[i].ms == 1000 ? 1 : 2))
		i++;
	snprintf(buf, NUMBER_SIZE, "%llu%s", ms / units[i].ms, units[i].unit);
}

static bool
is_digits(const char *text)
{
	return *text && !text[strspn(text, "0123456789")];
}

static const char *
title_of(const struct view_table *t, size_t column, char *buf)
{
	const char *name = view_cell(t, 0, column);
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		if (strcmp(columns[i].name, name) == 0)
			return columns[i].title;
	for (; n < NUMBER_SIZE - 1 && name[n]; n++)
		buf[n] = (char)toupper((unsigned char)name[n]);
	buf[n] = '\0';
	return buf;
}

/* Returns a cell as it is shown; it may be written to buf. */
static const char *
shown_cell(const struct view_table *t, size_t row, size_t column, char *buf)
{
	const char *text = view_cell(t, row, column);
	enum cell_kind kind = kind_of(t, column);

	if (row == 0)
		return title_of(t, column, buf);
	if (kind < CELL_BYTES || !is_digits(text))
		return text;
	(kind == CELL_BYTES ? format_bytes : format_span)(buf,
	    strtoull(text, NULL, 10));
	return buf;
}

/* Returns the columns of a terminal that UTF-8 text takes, about. */
static size_t
width_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

/* Returns how many bytes of UTF-8 text take at most so many columns. */
size_t
view_cut(const char *text, size_t width)
{
	size_t n = 0;

	while (text[n] && text[n] != '\n') {
		if (((unsigned char)text[n] & 0xc0) != 0x80 && width-- == 0)
			break;
		n++;
	}
	return n;
}

static void
print_cell(FILE *out, const char *text, size_t width, bool right, bool last)
{
	size_t length = view_cut(text, width), shown = width_of(text);
	int pad = shown < width ? (int)(width - shown) : 0;

	fprintf(out, "%*s%.*s", right ? pad : 0, "", (int)length, text);
	if (!last)
		fprintf(out, "%*s  ", right ? 0 : pad, "");
}

/* Finds the width of each column; cuts the first one to fit in `limit`. */
static void
find_widths(const struct view_table *t, size_t *widths, size_t limit)
{
	char buf[NUMBER_SIZE];
	size_t sum = 0;

	for (size_t i = 0; i < t->n_columns; i++) {
		for (size_t row = 0; row < t->n_rows; row++) {
			size_t n = width_of(shown_cell(t, row, i, buf));

			if (widths[i] < n)
				widths[i] = n;
		}
		if (i + 1 < t->n_columns)
			sum += widths[i] + 2;
	}
	for (; limit && sum > limit && widths[0] > FIRST_WIDTH_MIN; sum--)
		widths[0]--;
}

void
view_table_print(FILE *out, const struct view_table *t, size_t width)
{
	size_t widths[COLUMNS_MAX] = {0};
	char buf[NUMBER_SIZE];

	find_widths(t, widths, width);
	for (size_t row = 0; row < t->n_rows; row++) {
		for (size_t i = 0; i < t->n_columns; i++)
			print_cell(out, shown_cell(t, row, i, buf), widths[i],
			    kind_of(t, i) != CELL_TEXT, i + 1 == t->n_columns);
		fputc('\n', out);
	}
}

static void
print_json_text(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++)
		fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c",
		    *text);
	fputc('"', out);
}

static void
print_json_value(FILE *out, const struct view_table *t, size_t row,
    size_t column)
{
	const char *text = view_cell(t, row, column);

	if (kind_of(t, column) == CELL_TEXT)
		print_json_text(out, text);
	else
		fputs(is_digits(text) ? text : "null", out);
}

void
view_table_print_json(FILE *out, const struct view_table *t)
{
	fputs("[\n", out);
	for (size_t row = 1; row < t->n_rows; row++) {
		for (size_t i = 0; i < t->n_columns; i++) {
			fputs(i ? ", " : "  {", out);
			print_json_text(out, view_cell(t, 0, i));
			fputs(": ", out);
			print_json_value(out, t, row, i);
		}
		fputs(row + 1 < t->n_rows ? "},\n" : "}\n", out);
	}
	fputs("]\n", out);
}
