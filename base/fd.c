/* Closes descriptors: one, and many at once. */

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

int
close_keep_errno(int fd)
{
	int saved = errno;

	close(fd);
	errno = saved;
	return -1;
}

/* Linux before 5.9 has no close_range(2). */
static void
fd_close_range(int first, int last)
{
	struct rlimit limit = {.rlim_cur = 0};

	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return;
	getrlimit(RLIMIT_NOFILE, &limit);
	while (first <= last && (rlim_t)first < limit.rlim_cur)
		close(first++);
}

static int
ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void
fd_close_except(int *keep, size_t n, int last)
{
	int next = STDERR_FILENO + 1;

	qsort(keep, n, sizeof(*keep), ascending);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] >= next) {
			fd_close_range(next, keep[i] - 1);
			next = keep[i] + 1;
		}
	}
	fd_close_range(next, last);
}
