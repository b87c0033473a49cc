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
void
fd_close_from(int fd, int last)
{
	if (syscall(SYS_close_range, fd, ~0U, 0) == -1)
		while (fd <= last)
			close(fd++);
}

static void
fd_close_range(unsigned first, unsigned last)
{
	struct rlimit limit = {.rlim_cur = 0};

	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return;
	getrlimit(RLIMIT_NOFILE, &limit);
	while (first <= last && first < limit.rlim_cur)
		close((int)first++);
}

static int
ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void
fd_close_except(int *keep, size_t n)
{
	unsigned next = STDERR_FILENO + 1;

	qsort(keep, n, sizeof(*keep), ascending);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] >= (int)next) {
			fd_close_range(next, (unsigned)keep[i] - 1);
			next = (unsigned)keep[i] + 1;
		}
	}
	fd_close_range(next, ~0U);
}
