/* Opens files by path and binds /proc/N in a path to one process. */

#ifndef BASE_ANCHOR_H
#define BASE_ANCHOR_H

#include <stdbool.h>

struct anchor;

/* Returns an anchor that is bound to no process, or NULL with ENOMEM. */
struct anchor *anchor_new(void);

/*
 * Returns the same anchor with one more reference, which anchor_free() drops.
 */
struct anchor *anchor_share(struct anchor *);

/* Drops a reference and frees the anchor with the last one. NULL is ignored. */
void anchor_free(struct anchor *);

/* Returns true if the anchor is bound to a process; false for NULL. */
bool anchor_seen(const struct anchor *);

/* Returns true if the last anchor_open() led through the process. */
bool anchor_used(const struct anchor *);

/*
 * Opens a file for reading with O_CLOEXEC, without blocking. If the path leads
 * through /proc/N, the anchor is bound to that process, and later calls with
 * the same number mean that process only. A NULL anchor binds nothing.
 *
 * Returns a descriptor, or -1 with errno of open(2); ESRCH if the process has
 * ended or never existed.
 */
int anchor_open(struct anchor *, const char *path);

/*
 * Opens the root directory (O_PATH) of the process that the anchor is bound to.
 * Returns a descriptor, or -1 with errno of open(2): ESRCH if the process has
 * ended.
 */
int anchor_open_root(const struct anchor *);

/*
 * Binds the anchor to the process whose directory /proc/N (O_PATH) is dir, and
 * takes dir over. Returns 0, or -1 with errno; then the anchor stays as it was.
 */
int anchor_bind(struct anchor *, int dir);

/* Opens a file below /proc/N. Returns as anchor_open(). */
int anchor_open_below(struct anchor *, const char *path);

/* Opens its mount namespace, without which mounts below the root disappear. */
int anchor_open_mounts(const struct anchor *);

/* Returns the number of the process that the anchor is bound to, or 0. */
int anchor_pid(const struct anchor *);

#endif
