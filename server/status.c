/* Counts the maps that have their mappers, and reports the number. */

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "server/service.h"
#include "server/status.h"
#include "server/systemd.h"

/* The services of a map are neighbours in the list. */
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

const char *
status_format(char *text, const struct services *list, size_t n_maps)
{
	size_t n = status_count_serving(list, n_maps);

	if (n == n_maps)
		snprintf(text, STATUS_TEXT_MAX, "%zu %s", n,
		    n == 1 ? "map" : "maps");
	else
		snprintf(text, STATUS_TEXT_MAX, "%zu of %zu %s, %zu %s", n,
		    n_maps, n_maps == 1 ? "map" : "maps", n_maps - n,
		    n_maps - n == 1 ? "waits" : "wait");
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
