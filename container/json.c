/* Reads JSON (RFC 8259) in memory, without a copy. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "container/json.h"

/*
 * The functions json_skip_X() return the end of what begins at p, or NULL if
 * that is no X, or goes on at `end`.
 */
static const char *json_skip_value(const char *p, const char *end, int depth);

static const char *
json_skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

static bool
json_at(const char *p, const char *end, char c)
{
	return p < end && *p == c;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Sets *code to the character of an escape, which begins behind the '\'. */
static const char *
json_skip_escape(const char *p, const char *end, unsigned *code)
{
	static const char escapes[] = "\"\\/bfnrt",
			  values[] = "\"\\/\b\f\n\r\t";
	const char *at;

	*code = 0;
	if (p == end)
		return NULL;
	if (*p != 'u') {
		at = *p ? strchr(escapes, *p) : NULL;
		if (at)
			*code = (unsigned char)values[at - escapes];
		return at ? p + 1 : NULL;
	}
	if (end - p < 5)
		return NULL;
	for (int i = 1; i <= 4; i++) {
		if (hex_value(p[i]) == -1)
			return NULL;
		*code = *code << 4 | (unsigned)hex_value(p[i]);
	}
	return p + 5;
}

static const char *
json_skip_string(const char *p, const char *end)
{
	unsigned code;

	if (!json_at(p, end, '"'))
		return NULL;
	for (p++; p && p < end && *p != '"';) {
		if ((unsigned char)*p < 0x20)
			return NULL;
		p = *p == '\\' ? json_skip_escape(p + 1, end, &code) : p + 1;
	}
	return p && p < end ? p + 1 : NULL;
}

static const char *
skip_digits(const char *p, const char *end)
{
	const char *first = p;

	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p == first ? NULL : p;
}

static const char *
json_skip_number(const char *p, const char *end)
{
	p += json_at(p, end, '-');
	p = json_at(p, end, '0') ? p + 1 : skip_digits(p, end);
	if (p && json_at(p, end, '.'))
		p = skip_digits(p + 1, end);
	if (!p || (!json_at(p, end, 'e') && !json_at(p, end, 'E')))
		return p;
	p++;
	p += json_at(p, end, '+') || json_at(p, end, '-');
	return skip_digits(p, end);
}

static const char *
json_skip_word(const char *p, const char *end)
{
	static const char *const words[] = {"true", "false", "null"};

	for (int i = 0; i < 3; i++) {
		size_t length = strlen(words[i]);

		if ((size_t)(end - p) >= length &&
		    memcmp(p, words[i], length) == 0)
			return p + length;
	}
	return NULL;
}

/* Skips a key, the ':' and the space around it. */
static const char *
json_skip_key(const char *p, const char *end)
{
	p = json_skip_string(p, end);
	if (!p)
		return NULL;
	p = json_skip_space(p, end);
	return json_at(p, end, ':') ? json_skip_space(p + 1, end) : NULL;
}

/* Skips an object or an array, from its first bracket to the last one. */
static const char *
json_skip_list(const char *p, const char *end, int depth)
{
	bool object = *p == '{';
	char last = object ? '}' : ']';

	if (depth == JSON_DEPTH_MAX)
		return NULL;
	p = json_skip_space(p + 1, end);
	if (json_at(p, end, last))
		return p + 1;
	for (;;) {
		if (object)
			p = json_skip_key(p, end);
		if (p)
			p = json_skip_value(p, end, depth + 1);
		if (!p)
			return NULL;
		p = json_skip_space(p, end);
		if (json_at(p, end, last))
			return p + 1;
		if (!json_at(p, end, ','))
			return NULL;
		p = json_skip_space(p + 1, end);
	}
}

static const char *
json_skip_value(const char *p, const char *end, int depth)
{
	if (p == end)
		return NULL;
	if (*p == '{' || *p == '[')
		return json_skip_list(p, end, depth);
	if (*p == '"')
		return json_skip_string(p, end);
	if (*p == '-' || (*p >= '0' && *p <= '9'))
		return json_skip_number(p, end);
	return json_skip_word(p, end);
}

bool
json_parse(struct json *value, const char *text, size_t length)
{
	const char *end = text + length;
	const char *first = json_skip_space(text, end);
	const char *last = json_skip_value(first, end, 0);

	if (!last || json_skip_space(last, end) != end)
		return false;
	*value = (struct json){first, last};
	return true;
}

/* Sets *value to the value that begins at p, behind a ',' if p leads to one. */
static bool
set_value(const char *p, const char *end, struct json *value)
{
	const char *last = json_skip_value(p, end, 0);

	if (last)
		*value = (struct json){p, last};
	return last != NULL;
}

bool
json_member(struct json object, const char *key, struct json *value)
{
	const char *p = object.at, *end = object.end;
	size_t length = strlen(key);

	if (!json_at(p, end, '{'))
		return false;
	p = json_skip_space(p + 1, end);
	while (p && json_at(p, end, '"')) {
		const char *name = p + 1;
		const char *name_end = json_skip_string(p, end);

		p = json_skip_key(p, end);
		if (!p)
			return false;
		if ((size_t)(name_end - 1 - name) == length &&
		    memcmp(name, key, length) == 0)
			return set_value(p, end, value);
		p = json_skip_value(p, end, 0);
		if (p)
			p = json_skip_space(p, end);
		if (p && json_at(p, end, ','))
			p = json_skip_space(p + 1, end);
	}
	return false;
}

bool
json_next(struct json array, struct json *item)
{
	const char *p = item->at ? item->end : array.at, *end = array.end;

	if (!json_at(array.at, end, '['))
		return false;
	p = json_skip_space(p, end);
	if (!json_at(p, end, item->at ? ',' : '['))
		return false;
	p = json_skip_space(p + 1, end);
	return !json_at(p, end, ']') && set_value(p, end, item);
}

bool
json_string(struct json value, char *buf, size_t size)
{
	const char *p = value.at + 1, *last = value.end - 1;
	size_t used = 0;
	unsigned code;

	*buf = '\0';
	if (!json_at(value.at, value.end, '"') || p > last)
		return false;
	while (p && p < last && used < size - 1) {
		code = (unsigned char)*p++;
		if (code == '\\') {
			p = json_skip_escape(p, last, &code);
			code = code < 0x80 ? code : '?';
		}
		if (code < 0x20)
			break;
		buf[used++] = (char)code;
	}
	if (p != last) {
		*buf = '\0';
		return false;
	}
	buf[used] = '\0';
	return true;
}

bool
json_uint(struct json value, uint32_t max, uint32_t *number)
{
	uint64_t n = 0;

	if (value.at == value.end)
		return false;
	for (const char *p = value.at; p < value.end; p++) {
		if (*p < '0' || *p > '9' || n > max)
			return false;
		n = n * 10 + (uint64_t)(*p - '0');
	}
	if (n > max)
		return false;
	*number = (uint32_t)n;
	return true;
}
