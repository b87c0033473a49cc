/* Asks Docker, or podman's service, by Docker's API. */

#ifndef CONTAINER_API_H
#define CONTAINER_API_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "container/look.h"

#define API_PATH_SIZE 128

/* Memory for an answer, or a file, of the runtime. */
#define API_ANSWER_SIZE (4 << 20)

/*
 * Writes the path of the runtime's socket: that of $DOCKER_HOST or
 * $CONTAINER_HOST, which begin with unix://, else the usual one. Returns false
 * if the variable has something else.
 */
bool api_socket(enum runtime, char *path);

/* As look(). */
bool api_look(enum runtime, const char *name, struct sighting *, msec deadline);

#endif
