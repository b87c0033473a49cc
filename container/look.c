/* Looks up a container, a unit or a machine once. */

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "container/api.h"
#include "container/http.h"
#include "container/look.h"
#include "container/podman.h"
#include "container/process.h"
#include "container/systemd.h"

#define ALPHABET                     \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ" \
	"abcdefghijklmnopqrstuvwxyz" \
	"0123456789_.-"

const char *
look_word(enum runtime runtime)
{
	static const char *const words[RUNTIMES] = {"docker", "podman", "unit",
	    "machine"};

	return words[runtime];
}

const char *
look_check_name(enum runtime runtime, const char *name)
{
	bool unit = runtime == RUNTIME_UNIT;
	size_t length = strlen(name);
	const char *at = unit ? strchr(name, '@') : NULL;

	if (!length || length > LOOK_NAME_SIZE - 16)
		return "no name of a container, unit or machine";
	if (strspn(name, unit ? ALPHABET ":@\\" : ALPHABET) != length ||
	    *name == '.' || *name == '-')
		return "a name has letters, digits, '_', '.' and '-'";
	if (at && (at == name || !at[1]))
		return "no unit: NAME@INSTANCE";
	return NULL;
}

bool
look_absent(struct sighting *s, const char *fmt, ...)
{
	va_list args;

	s->process.pid = 0;
	va_start(args, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, args);
	va_end(args);
	return true;
}

void
look_add_name(struct sighting *s, const char *name)
{
	size_t used = strlen(s->why);

	if (used + strlen(name) + sizeof(", ...") > sizeof(s->why))
		name = "...";
	if (used < 3 || strcmp(s->why + used - 3, "...") != 0)
		snprintf(s->why + used, sizeof(s->why) - used, "%s %s",
		    s->why[used - 1] == ':' ? "" : ",", name);
}

/* Sets the start of the process, or why the process is not the one meant. */
static bool
identify(struct sighting *s)
{
	int pid = s->process.pid;

	if (!pid || process_identify(&s->process) == 0)
		return true;
	if (process_has_own_pids())
		look_absent(s,
		    "its process has number %d on the host, whose processes "
		    "this PID namespace does not have (docker run --pid=host)",
		    pid);
	else if (errno == ESRCH)
		look_absent(s, "its process %d has ended", pid);
	else
		look_absent(s, "process %d is not of that %s", pid,
		    s->process.mark[0] == ':' ? "unit" : "container");
	return false;
}

static bool
look_by(enum runtime runtime, const char *name, struct sighting *s,
    msec deadline)
{
	switch (runtime) {
	case RUNTIME_DOCKER:
		return api_look(runtime, name, s, deadline);
	case RUNTIME_PODMAN:
		return podman_look(name, s, deadline);
	case RUNTIME_UNIT:
		return unit_look(name, s);
	case RUNTIME_MACHINE:
		break;
	}
	return machine_look(name, s);
}

bool
look(enum runtime runtime, const char *name, struct sighting *s, msec deadline)
{
	bool answered;

	*s = (struct sighting){.why = ""};
	answered = look_by(runtime, name, s, deadline);
	if (!identify(s))
		return false;
	if (!s->process.pid && s->why[0] && s->why[strlen(s->why) - 1] == ':')
		look_add_name(s, "none");
	return answered;
}

/* podman names events in other words, so that only containers are selected. */
int
look_events(enum runtime runtime, msec deadline)
{
	char path[API_PATH_SIZE];

	if ((runtime != RUNTIME_DOCKER && runtime != RUNTIME_PODMAN) ||
	    !api_socket(runtime, path))
		return -1;
	return http_stream(path,
	    runtime == RUNTIME_DOCKER
		? "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C"
		  "%22event%22%3A%5B%22start%22%2C%22die%22%2C%22rename%22%2C"
		  "%22destroy%22%5D%7D"
		: "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D",
	    deadline);
}
