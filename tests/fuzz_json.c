/* Fuzzes what reads the answers of container runtimes, see make fuzz. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "container/http.h"
#include "container/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

/* A value in the text, and each value in it, is one that json_parse() takes. */
static void
visit(struct json value, const char *text, size_t size, int depth)
{
	static const char *const keys[] = {"Id", "State", "Pid", "id", "names",
	    "message", ""};
	struct json part, item = {NULL, NULL};
	char small[4], large[256];
	uint32_t number;

	require(text <= value.at && value.at < value.end &&
	    value.end <= text + size && depth <= JSON_DEPTH_MAX);
	require(json_parse(&part, value.at, (size_t)(value.end - value.at)));
	require(part.at == value.at && part.end == value.end);
	if (json_string(value, large, sizeof(large)))
		require(*value.at == '"' && strlen(large) < sizeof(large));
	if (json_string(value, small, sizeof(small)))
		require(strlen(small) < sizeof(small));
	if (json_uint(value, 4194304, &number))
		require(number <= 4194304 && *value.at >= '0');
	while (json_next(value, &item)) {
		require(*value.at == '[' && item.end < value.end);
		visit(item, text, size, depth + 1);
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (json_member(value, keys[i], &part)) {
			require(*value.at == '{' && part.end < value.end);
			visit(part, text, size, depth + 1);
		}
}

static void
fuzz_json(const uint8_t *data, size_t size)
{
	char *text = malloc(size ? size : 1);
	struct json all;

	require(text);
	memcpy(text, data, size);
	if (json_parse(&all, text, size))
		visit(all, text, size, 0);
	free(text);
}

static int
parse_copy(struct http_answer *a, const uint8_t *data, size_t size, bool eof)
{
	char *buf = malloc(size + 1);
	int result;

	if (!buf)
		abort();
	memcpy(buf, data, size);
	*a = (struct http_answer){.body = buf};
	result = http_parse(a, buf, size, eof);
	if (result == 1)
		require(a->body >= buf && a->length <= size &&
		    a->body + a->length <= buf + size);
	free(buf);
	return result;
}

/* An answer that is complete stays so when the connection ends. */
static void
fuzz_http(const uint8_t *data, size_t size)
{
	struct http_answer a, b;
	int now = parse_copy(&a, data, size, false);
	int then = parse_copy(&b, data, size, true);

	require(then != 0 && (now != -1 || then == -1));
	if (now == 1)
		require(
		    then == 1 && a.status == b.status && a.length == b.length);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && data[0] == 'H')
		fuzz_http(data, size);
	else
		fuzz_json(data, size);
	return 0;
}
