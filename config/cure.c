/* Checks the maps in advice, and writes the advice on an endpoint alone. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "config/cure.h"

#include "base/array.h"
#include "config/check.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"

#define CAPITALS "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

/*
 * Copies a word, with an example for each name of a part and 'x' for each byte
 * of a masked password. The copy is not longer, because no example is.
 */
static void
fill_in(char *buf, const char *word)
{
	static const char *const names[][2] = {{"LISTEN", "1"},
	    {"TARGET", "n@2"}, {"NS", "n"}, {"HOST", "h"}, {"PORT", "1"},
	    {"PATH", "p"}};
	size_t length, i;

	for (; *word; word += length) {
		length = strspn(word, CAPITALS);
		for (i = 0; i < ARRAY_LEN(names); i++)
			if (strlen(names[i][0]) == length &&
			    strncmp(word, names[i][0], length) == 0)
				break;
		if (i < ARRAY_LEN(names))
			buf = stpcpy(buf, names[i][1]);
		else if (length)
			buf = mempcpy(buf, word, length);
		else if (*word == '*' && word[1] != ':')
			*buf++ = 'x';
		else
			*buf++ = *word;
		length += !length;
	}
	*buf = '\0';
}

/* Writes '@' behind the host of the target if it names a namespace. */
static void
mark_namespace(char *word, const struct map *map)
{
	const struct endpoint *target = map->targets;
	char *host;

	if (map->n_targets != 1 || map->n_hops || map->target_ns.spec ||
	    target->kind != EP_HOST || !check_is_ns_name(target->name))
		return;
	host = strchr(word, '=') + 1;
	if (strncmp(host, target->name, strlen(target->name)) == 0)
		host[strlen(target->name)] = '@';
}

bool
cure_is_map(char *word)
{
	char example[CURE_SIZE];
	const char *bad_part;
	struct map map;
	int length;

	if (strstr(word, "=VALUE"))
		return true;
	fill_in(example, word);
	if (map_parse(&map, example, &config_builtin, &bad_part, &length))
		return false;
	mark_namespace(word, &map);
	map_free(&map);
	return true;
}

bool
cure_has_maps(char *advice)
{
	char *word = strstr(advice, CURE_START), *end, last;
	bool work = true;

	for (; word && *word && work; word = end) {
		word += strspn(word, " (");
		end = word + strcspn(word, " ");
		while (end > word && strchr(",;)", end[-1]))
			end--;
		last = *end;
		*end = '\0';
		work = !strchr(word, '=') || cure_is_map(word);
		*end = last;
		end += strcspn(end, " ");
	}
	return work;
}

/* Writes "WHY: write MAP" and an example. Returns false if MAP is no map. */
static bool
write_map(char *buf, const char *why, const char *proto, const char *listen,
    const char *target)
{
	int n = snprintf(buf, CURE_SIZE, "%s: " CURE_START "%s%s=%s", why,
	    proto, listen, target);

	if (n >= CURE_SIZE || !cure_has_maps(buf))
		return false;
	if (strcmp(listen, "LISTEN") != 0)
		return true;
	snprintf(buf + n, CURE_SIZE - (size_t)n, ", such as %s8080=%s", proto,
	    target);
	if (!cure_has_maps(buf))
		buf[n] = '\0';
	return true;
}

bool
cure_single(char *buf, const char *text)
{
	static const char lone[] = "one address only",
			  missing[] = "a target is missing";
	const char *start = text + (*text == '='), *proto = "";
	char name[CURE_SIZE], at_port[CURE_SIZE], *at, *end;
	bool listens;

	for (unsigned i = PROTO_TCP; i <= (PROTO_TCP | PROTO_UDP); i++)
		if (strncmp(start, map_proto_prefix(i),
			strlen(map_proto_prefix(i))) == 0)
			proto = map_proto_prefix(i);
	snprintf(name, sizeof(name), "%s", start + strlen(proto));
	end = strchr(name, '=');
	at = map_ns_end(name);
	listens = end || (start == text && (!at || at == name));
	if ((end && (end[1] || start > text)) || strncmp(name, "//", 2) == 0)
		return false;
	if (end)
		*end = '\0';
	snprintf(at_port, sizeof(at_port), "%.500s@PORT", name);
	return (listens && write_map(buf, missing, proto, name, "TARGET")) ||
	    write_map(buf, lone, proto, "LISTEN", name) ||
	    (check_is_ns_name(name) &&
		write_map(buf, lone, proto, "LISTEN", at_port)) ||
	    write_map(buf, missing, proto, name, "TARGET");
}
