/* Counts the maps that have their mappers, and reports the number. */

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "config/map.h"
#include "netns.h"
#include "server/service.h"
#include "server/status.h"
#include "server/systemd.h"

/* Counts each map once: services of one map are neighbours in the list. */
size_t
status_count_serving(const struct services *list, size_t n_maps)
{
	const struct service *s = list->items;
	const struct map *waiting = NULL;

	for (; s < list->items + list->count; s++)
		if (!s->mapper && s->map != waiting) {
			waiting = s->map;
			n_maps--;
		}
	return n_maps;
}

/* Returns the first service of a map that waits. */
static const struct service *
first_waiting(const struct services *list)
{
	const struct service *s = list->items;

	while (s->mapper)
		s++;
	return s;
}

void
status_format_wait(char *text, size_t size, const struct service *s)
{
	const struct map *map = s->map;

	if (!s->listen_ns_id || !s->target_ns_id)
		snprintf(text, size, "waits for namespace '%.64s'",
		    ns_spec(
			s->listen_ns_id ? &map->target_ns : &map->listen_ns));
	else
		snprintf(text, size, "waits %s",
		    s->listeners_ns ? "for a mapper" : "to listen");
}

const char *
status_format(char *text, const struct services *list, size_t n_maps)
{
	size_t n = status_count_serving(list, n_maps);
	const struct service *first;
	char wait[96], more[48] = "";

	if (n == n_maps) {
		snprintf(text, STATUS_TEXT_MAX, "%zu %s", n,
		    n == 1 ? "map" : "maps");
		return text;
	}
	first = first_waiting(list);
	status_format_wait(wait, sizeof(wait), first);
	if (n_maps - n > 1)
		snprintf(more, sizeof(more), ", and %zu more", n_maps - n - 1);
	snprintf(text, STATUS_TEXT_MAX, "%zu of %zu %s ('%.64s' %s%s)", n,
	    n_maps, n_maps == 1 ? "map" : "maps", first->map->spec, wait, more);
	return text;
}

void
status_notify(const char *lines, const struct services *list, size_t n_maps)
{
	char text[STATUS_TEXT_MAX];

	sd_notify_send("%sSTATUS=%s\n", lines,
	    status_format(text, list, n_maps));
}

void
status_notify_ready(const struct services *list, size_t n_maps)
{
	char lines[64];

	snprintf(lines, sizeof(lines), "READY=1\nMAINPID=%d\n", (int)getpid());
	status_notify(lines, list, n_maps);
}
