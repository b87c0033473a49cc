/* Recognizes habits, spellings of other programs, and tells nsfwd's own. */

#ifndef CONFIG_HABIT_H
#define CONFIG_HABIT_H

#include <stddef.h>

#include "config/cure.h"

/* The place that the refused text stands in. */
enum habit_place {
	HABIT_MAP,    /* a map, or one of several arguments */
	HABIT_WORDS,  /* two or more arguments, a space between them */
	HABIT_OPTION, /* an unknown option, a space, and the next argument */
	HABIT_GOST,   /* the value of -L */
	HABIT_NS,     /* the name of a namespace */
	HABIT_ITEM    /* an item of a list of addresses, as of allow= */
};

#define HABIT_SIZE CURE_SIZE

/*
 * Writes the advice on the first length bytes of a masked text into buf, which
 * has HABIT_SIZE bytes. Returns buf; or NULL if the text is no habit, or too
 * long to repeat.
 */
const char *habit_advice(char *buf, enum habit_place, const char *text,
    size_t length);

/*
 * Returns as habit_advice() does. The masked text is an endpoint alone, with no
 * '=' or one at an end of it.
 */
const char *habit_single(char *buf, const char *text, size_t length);

#endif
