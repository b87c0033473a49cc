/* Containers, units and machines by name: their processes, now and later. */

#ifndef CONTAINER_CONTAINER_H
#define CONTAINER_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "container/look.h"

struct container;

/*
 * Returns the container of that name, the same each time, with one more
 * reference, which container_put() drops; or NULL with ENOMEM.
 */
struct container *container_get(enum runtime, const char *name);
void container_put(struct container *);

/*
 * Opens /proc/N (O_PATH) of the process of the container. Looks the name up;
 * after container_track() uses the last report of the tracker, and waits only
 * for the first report, for a limited time; after container_stop() knows no
 * new name. Returns a descriptor; or -1 with ESRCH, and container_why() tells
 * more; or with an errno of errno_is_shortage().
 */
int container_open(struct container *);
const char *container_why(const struct container *);

/*
 * Writes "docker:web is 3f2a9c1b2d4e, process 4242" into buf, or "" if no process
 * is known. Returns buf.
 */
#define CONTAINER_TEXT_SIZE (LOOK_NAME_SIZE + 96)
const char *container_describe(const struct container *, char *buf);

/*
 * Starts a tracker for each runtime that a container has, now and later; with
 * no_sandbox, trackers have no filter of system calls. Returns 0, or -1 with
 * errno.
 */
int container_track(bool no_sandbox);

/* Returns a descriptor that can be read when a process has changed, or -1. */
int container_pollfd(void);

/*
 * Records and logs the reports of trackers. Returns true if there were any
 * since the last call.
 */
bool container_read(void);

/*
 * Starts trackers that have exited. Returns when to call this again, or NEVER.
 */
msec container_retry(void);

/* Ends all trackers. */
void container_stop(void);

#endif
