/* Counts, durations and address blocks as users write them. */

#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include <stdint.h>
#include <stdio.h>

#include "base/clock.h"

struct cidr;

/*
 * A whole number from least, 0 or 1, to a million; a span of time: a number
 * with at most three decimals and a unit (ms, s, m, h, d; s where there is
 * none). NULL, or why the word is none, a string constant.
 */
const char *parse_count(const char *word, uint32_t least, uint32_t *);
const char *parse_duration(const char *word, msec *);

/*
 * ADDR or ADDR/BITS. NULL, or why the text, which it may take to pieces, is
 * none of these, a string constant.
 */
const char *cidr_parse(struct cidr *, char *text);
void cidr_print(FILE *, const struct cidr *);

/* Writes a duration with the largest unit that divides it. */
void duration_print(FILE *, msec);

#endif
