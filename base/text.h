/* Compares strings and reads numbers from them. */

#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Reads a whole decimal number from min to max. Returns false, and leaves
 * *value as it was, if text is anything else. A leading 0 is refused because it
 * may be meant as octal.
 */
bool parse_uint(const char *text, uint32_t min, uint32_t max, uint32_t *value);

/* Returns true if both strings are equal, or both are NULL. */
bool text_equal(const char *a, const char *b);

#endif
