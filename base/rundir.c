/* Names the runtime directories. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rundir.h"

bool
rundir_path(char *path, size_t size, int i)
{
	const char *systemd = getenv("RUNTIME_DIRECTORY");
	const char *user = getenv("XDG_RUNTIME_DIR");

	*path = '\0';
	if (i == 0 && systemd && *systemd == '/')
		snprintf(path, size, "%.*s", (int)strcspn(systemd, ":"),
		    systemd);
	else if (i == 1 && geteuid() == 0)
		snprintf(path, size, "/run/nsfwd");
	else if (i == 2 && user && *user == '/')
		snprintf(path, size, "%s/nsfwd", user);
	return i < 3;
}
