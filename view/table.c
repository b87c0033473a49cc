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
#define CELL_SIZE       64
#define FIRST_WIDTH_MIN 24 /* of a CELL_LONG that is wider */
#define OTHER_WIDTH_MIN 12
#define RANK_NEVER      10

enum cell_kind {
	CELL_TEXT,
	CELL_LONG,   /* text that is cut on a narrow terminal */
	CELL_HIDDEN, /* a number that STATE shows */
	CELL_COUNT,
	CELL_BYTES,
	CELL_SPAN /* in milliseconds */
};

/*
 * Columns of numbers, and columns that a narrow terminal does not show: those
 * of rank 1 are left out first. Other columns are text, titled by their name.
 * The first column is always shown.
 */
static const struct column {
	const char *name, *title;
	enum cell_kind kind;
	int rank;
} columns[] = {
    {"proto", "PROTO", CELL_TEXT, 1},
    {"from", "FROM", CELL_TEXT, 1},
    {"to", "TO", CELL_TEXT, 1},
    {"targets", "TARGETS", CELL_HIDDEN, 0},
    {"targets_down", "TARGETS DOWN", CELL_HIDDEN, 0},
    {"total", "TOTAL", CELL_COUNT, 2},
    {"refused", "REFUSED", CELL_COUNT, 3},
    {"up", "UP", CELL_BYTES, 4},
    {"down", "DOWN", CELL_BYTES, 4},
    {"age_ms", "AGE", CELL_SPAN, 5},
    {"error_ms", "AGO", CELL_SPAN, 5},
    {"failed", "FAILED", CELL_COUNT, 6},
    {"error", "LAST ERROR", CELL_LONG, 7},
    {"map", "MAP", CELL_LONG, 7},
    {"open", "OPEN", CELL_COUNT, 8},
    {"target", "TARGET", CELL_LONG, 8},
    {"state", "STATE", CELL_TEXT, 9},
    {"up_s", "UP/S", CELL_BYTES, RANK_NEVER},
    {"down_s", "DOWN/S", CELL_BYTES, RANK_NEVER},
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

/* Returns NULL for a column that is text, titled by its name. */
static const struct column *
find_column(const struct view_table *t, size_t column)
{
	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		if (strcmp(columns[i].name, view_cell(t, 0, column)) == 0)
			return &columns[i];
	return NULL;
}

static enum cell_kind
kind_of(const struct view_table *t, size_t column)
{
	const struct column *c = find_column(t, column);

	return c ? c->kind : CELL_TEXT;
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
		snprintf(buf, CELL_SIZE, "%llu", n);
	else
		snprintf(buf, CELL_SIZE, value < 9.95 ? "%.1f%c" : "%.0f%c",
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
	snprintf(buf, CELL_SIZE, "%llu%s", ms / units[i].ms, units[i].unit);
}

static bool
is_digits(const char *text)
{
	return *text && !text[strspn(text, "0123456789")];
}

static const char *
title_of(const struct view_table *t, size_t column, char *buf)
{
	const struct column *c = find_column(t, column);
	const char *name = view_cell(t, 0, column);
	size_t n = 0;

	if (c)
		return c->title;
	for (; n < CELL_SIZE - 1 && name[n]; n++)
		buf[n] = (char)toupper((unsigned char)name[n]);
	buf[n] = '\0';
	return buf;
}

/* Returns the number in a cell of a row, or 0 if there is no such column. */
static unsigned long long
number_of(const struct view_table *t, size_t row, const char *name)
{
	size_t column = view_column(t, name);

	return column < t->n_columns
	    ? strtoull(view_cell(t, row, column), NULL, 10)
	    : 0;
}

/* Returns a state with the number of targets that are reached: "ok (2 of 3)" */
static const char *
format_state(const struct view_table *t, size_t row, const char *state,
    char *buf)
{
	unsigned long long targets = number_of(t, row, "targets");
	unsigned long long down = number_of(t, row, "targets_down");

	if (!down || targets < down || strcmp(state, "down") == 0)
		return state;
	snprintf(buf, CELL_SIZE, "%.8s (%llu of %llu)", state, targets - down,
	    targets);
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
	if (strcmp(view_cell(t, 0, column), "state") == 0)
		return format_state(t, row, text, buf);
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

/* Prints a cell, whose last column is a '+' if the text is cut. */
static void
print_cell(FILE *out, const char *text, size_t width, bool right, bool last)
{
	size_t shown = width_of(text);
	bool cut = shown > width;
	int pad = cut ? 0 : (int)(width - shown);

	fprintf(out, "%*s%.*s%s", right ? pad : 0, "",
	    (int)view_cut(text, width - cut), text, cut ? "+" : "");
	if (!last)
		fprintf(out, "%*s  ", right ? 0 : pad, "");
}

/* Finds the width of each column; 0 for a hidden one. */
static void
find_widths(const struct view_table *t, size_t *widths)
{
	char buf[CELL_SIZE];
	size_t n;

	for (size_t i = 0; i < t->n_columns; i++) {
		if (kind_of(t, i) == CELL_HIDDEN)
			continue;
		for (size_t row = 0; row < t->n_rows; row++) {
			n = width_of(shown_cell(t, row, i, buf));
			if (widths[i] < n)
				widths[i] = n;
		}
	}
}

static size_t
sum_of_widths(const size_t *widths)
{
	size_t sum = 0;

	for (size_t i = 0; i < COLUMNS_MAX; i++)
		if (widths[i])
			sum += widths[i] + (sum ? 2 : 0);
	return sum;
}

static void
set_least_widths(const struct view_table *t, size_t *widths)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		size_t least = i ? OTHER_WIDTH_MIN : FIRST_WIDTH_MIN;

		if (kind_of(t, i) == CELL_LONG && widths[i] > least)
			widths[i] = least;
	}
}

static void
leave_out(const struct view_table *t, size_t *widths, int rank)
{
	const struct column *c;

	for (size_t i = 1; i < t->n_columns; i++) {
		c = find_column(t, i);
		if (c && c->rank == rank)
			widths[i] = 0;
	}
}

/* Widens columns in turn, up to the widths that are wanted. */
static void
widen(size_t *widths, const size_t *wanted, size_t limit)
{
	bool wider;

	do {
		wider = false;
		for (size_t i = 0; i < COLUMNS_MAX; i++)
			if (widths[i] && widths[i] < wanted[i] &&
			    sum_of_widths(widths) < limit) {
				widths[i]++;
				wider = true;
			}
	} while (wider);
}

/* Cuts long columns, and leaves others out, so that a line fits in `limit`. */
static void
fit_widths(const struct view_table *t, size_t *widths, size_t limit)
{
	size_t wanted[COLUMNS_MAX];

	memcpy(wanted, widths, sizeof(wanted));
	set_least_widths(t, widths);
	for (int rank = 1; rank < RANK_NEVER; rank++)
		if (sum_of_widths(widths) > limit)
			leave_out(t, widths, rank);
	while (sum_of_widths(widths) > limit && widths[0] > 1)
		widths[0]--;
	widen(widths, wanted, limit);
}

static void
print_line(FILE *out, const struct view_table *t, size_t row,
    const size_t *widths)
{
	size_t last = t->n_columns - 1;
	char buf[CELL_SIZE];

	while (last && !widths[last])
		last--;
	for (size_t i = 0; i <= last; i++)
		if (widths[i])
			print_cell(out, shown_cell(t, row, i, buf), widths[i],
			    kind_of(t, i) >= CELL_COUNT, i == last);
	fputc('\n', out);
}

void
view_table_print(FILE *out, const struct view_table *t, size_t width)
{
	size_t widths[COLUMNS_MAX] = {0};

	find_widths(t, widths);
	if (width)
		fit_widths(t, widths, width);
	for (size_t row = 0; row < t->n_rows; row++)
		print_line(out, t, row, widths);
	if (t->n_rows == 1)
		fputs("none open\n", out);
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

	if (kind_of(t, column) < CELL_HIDDEN)
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
