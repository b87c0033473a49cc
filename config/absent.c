/* Says what to do about a namespace that is absent. */

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "config/absent.h"

#include "base/nearest.h"
#include "config/habit.h"
#include "netns.h"

const char *
absent_hint(char *buf, const struct ns *ns, int err)
{
	struct nearest near = {.name = ns_spec(ns)};
	char names[NEAREST_SIZE], habit[HABIT_SIZE];
	const char *hint = ns_hint(ns, ns_is_missing(err) ? err : ENOENT);

	if (habit_advice(habit, HABIT_NS, ns_spec(ns), strlen(ns_spec(ns))))
		hint = habit;
	if (ns->kind == NS_NAME && err != ENODATA) {
		nearest_add_files(&near, "/run/netns");
		nearest_add_files(&near, "/var/run/netns");
	}
	snprintf(buf, ABSENT_SIZE, "%s%s", nearest_format(&near, names, ""),
	    hint);
	return buf;
}
