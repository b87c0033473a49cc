/* Closing descriptors in bulk. */

#ifndef BASE_FD_H
#define BASE_FD_H

#include <stddef.h>

/* Closes every descriptor from fd on; the caller knows none beyond last. */
void fd_close_from(int fd, int last);

/* Closes every descriptor above 2 but the n given ones, and sorts these. */
void fd_close_except(int *keep, size_t n);

#endif
