/* Closes descriptors: one, and many at once. */

#ifndef BASE_FD_H
#define BASE_FD_H

#include <stddef.h>

/* Closes fd without changing errno. Returns -1. */
int close_keep_errno(int fd);

/* Closes the descriptors from fd to last, above which none is open. */
void fd_close_from(int fd, int last);

/* Closes every descriptor above 2 except the n in keep. Sorts keep. */
void fd_close_except(int *keep, size_t n);

#endif
