/* Closes descriptors: one, and many at once. */

#include <errno.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"

#include "base/syscall_numbers.h"

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

/* Sorts a few numbers. Takes less of the stack than qsort(3). */
static void
sort_fds(int *fd, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k > 0 && fd[k] < fd[k - 1]; k--) {
			int lower = fd[k];

			fd[k] = fd[k - 1];
			fd[k - 1] = lower;
		}
}

void
fd_close_except(int *keep, size_t n, int last)
{
	int next = STDERR_FILENO + 1;

	sort_fds(keep, n);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] >= next) {
			fd_close_range(next, keep[i] - 1);
			next = keep[i] + 1;
		}
	}
	fd_close_range(next, last);
}
