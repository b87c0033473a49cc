/* Numbers in text. */

#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

/* Reads a whole number from least to most: false when the text is none. */
bool parse_uint(const char *text, uint32_t least, uint32_t most, uint32_t *);

#endif
