/* Looks up containers of podman, which has a service or only files. */

#ifndef CONTAINER_PODMAN_H
#define CONTAINER_PODMAN_H

#include <stdbool.h>

#include "base/clock.h"
#include "container/look.h"

/*
 * As look(). Asks the service if it runs, else reads the files of
 * containers-storage.conf(5): of root, or of the user of this process.
 */
bool podman_look(const char *name, struct sighting *, msec deadline);

#endif
