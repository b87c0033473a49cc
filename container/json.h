/* Reads JSON (RFC 8259) in memory, without a copy. */

#ifndef CONTAINER_JSON_H
#define CONTAINER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 32

/* A value; it begins at `at`. Nothing is read at or behind `end`. */
struct json {
	const char *at, *end;
};

/*
 * Returns true if the text is one value, and no value in it is nested deeper
 * than JSON_DEPTH_MAX. Then sets *value, which points into the text.
 */
bool json_parse(struct json *value, const char *text, size_t length);

/*
 * Finds a member of an object by its key, without regard to escapes in keys.
 * Returns false if there is none, or if `object` is no object.
 */
bool json_member(struct json object, const char *key, struct json *value);

/*
 * Sets *item to the item behind *item; to the first item if item->at is NULL.
 * Returns false if there is none, or if `array` is no array.
 */
bool json_next(struct json array, struct json *item);

/*
 * Copies a string into buf. A character that is not ASCII and was escaped
 * becomes '?'. Returns false if the value is no string, has a NUL or a control
 * character, or does not fit; then *buf is "".
 */
bool json_string(struct json, char *buf, size_t size);

/* Returns false if the value is no integer from 0 to max. */
bool json_uint(struct json value, uint32_t max, uint32_t *number);

#endif
