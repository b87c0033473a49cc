/* Closes descriptors: one, and many at once. */

#ifndef BASE_FD_H
#define BASE_FD_H

#include <stddef.h>

/* Closes fd without changing errno. Returns -1. */
int close_keep_errno(int fd);

/*
 * Closes every descriptor above 2 except the n in keep. Sorts keep. The caller
 * knows that no descriptor above last is open.
 */
void fd_close_except(int *keep, size_t n, int last);

#endif
