/* Looks up a container, a unit or a machine once. */

#ifndef CONTAINER_LOOK_H
#define CONTAINER_LOOK_H

#include <stdbool.h>

#include "base/clock.h"
#include "container/process.h"

#define LOOK_MS        2000 /* for the answer of a runtime */
#define LOOK_NAME_SIZE 256
#define LOOK_ID_SIZE   16
#define LOOK_WHY_SIZE  400

enum runtime {
	RUNTIME_DOCKER,
	RUNTIME_PODMAN,
	RUNTIME_UNIT,   /* systemd's units */
	RUNTIME_MACHINE /* machines of systemd-machined(8) */
};
#define RUNTIMES 4

/* The result of a look-up. */
struct sighting {
	struct process process; /* pid 0: it does not run; why tells more */
	char id[LOOK_ID_SIZE];  /* the start of a container's number, or "" */
	char why[LOOK_WHY_SIZE];
};

/* Returns "docker", "podman", "unit" or "machine". */
const char *look_word(enum runtime);

/*
 * Returns NULL if the name may be one of the runtime, or why not, a constant.
 */
const char *look_check_name(enum runtime, const char *name);

/*
 * Looks the name up and fills *s. Returns false if the runtime does not answer
 * before the deadline, or not well, so that a new try soon can succeed.
 */
bool look(enum runtime, const char *name, struct sighting *s, msec deadline);

/*
 * Opens a stream on which the runtime sends some bytes whenever a container
 * starts or ends. Returns a descriptor; or -1 if the runtime has none.
 */
int look_events(enum runtime, msec deadline);

/*
 * For the files of the runtimes: records why there is no process. Returns true.
 */
bool look_absent(struct sighting *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds a name to those that run: s->why is "...: a, b". */
void look_add_name(struct sighting *, const char *name);

#endif
