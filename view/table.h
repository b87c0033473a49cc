/* The answer of a server as a table, for people and as JSON. */

#ifndef VIEW_TABLE_H
#define VIEW_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Lines of fields; the first line has their names. */
struct view_table {
	char *text;               /* owned; each field ends with a NUL */
	char **cells;             /* owned; row after row, the names first */
	size_t n_columns, n_rows; /* rows with the names */
};

/*
 * Takes over the text, lines of fields with a tab between them, in any case.
 * Returns false if it is no such table. view_table_free() releases the table in
 * either case.
 */
bool view_table_parse(struct view_table *, char *text);
void view_table_free(struct view_table *);

/* Returns a field; row 0 has the names. */
const char *view_cell(const struct view_table *, size_t row, size_t column);

/* Returns the column of that name, or n_columns. */
size_t view_column(const struct view_table *, const char *name);

/*
 * Prints an aligned table, with units for bytes and times. If the table is
 * wider than `width` columns of a terminal, cuts long cells, which end with '+'
 * then, and leaves out columns, but none of rates; 0: no limit. Says "none
 * open" below a heading alone, which only a table of what is open can be.
 */
void view_table_print(FILE *, const struct view_table *, size_t width);

/* Returns how many bytes of a line take at most so many columns. */
size_t view_cut(const char *line, size_t width);

/* Prints an array of objects. */
void view_table_print_json(FILE *, const struct view_table *);

#endif
