/* Opens files by a path, and remembers the process that a number in it named. */

#ifndef ANCHOR_H
#define ANCHOR_H

#include <stdbool.h>

struct anchor;

/* One that has seen no process. NULL with ENOMEM. */
struct anchor *anchor_new(void);

/* Returns the same one, which anchor_free() has to free once more. */
struct anchor *anchor_share(struct anchor *);
void anchor_free(struct anchor *); /* NULL: nothing */

/* True if a path led through a process; false for NULL. */
bool anchor_seen(const struct anchor *);

/*
 * Opens a file for reading, as open(2) with O_CLOEXEC and without waiting. Where
 * the path leads through /proc/N, the anchor remembers the process, and from
 * then on the same number means that process: ESRCH if it has ended, or if
 * there was none. NULL remembers nothing.
 */
int anchor_open(struct anchor *, const char *path);

#endif
