/* Takes away: for now, the descriptors that a process has no business with. */

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nsfwd.h"

/* close_range(2) is younger than Linux 5.9 and the C library's word for it. */
static void
close_span(unsigned first, unsigned last)
{
	struct rlimit limit;

	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= last)
		last = (unsigned)limit.rlim_cur;
	for (unsigned fd = first; fd <= last; fd++)
		close((int)fd);
}

void
sandbox_close_from(int fd)
{
	close_span((unsigned)fd, ~0U);
}

static int
ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void
sandbox_close_others(int *keep, size_t n)
{
	unsigned next = STDERR_FILENO + 1;

	qsort(keep, n, sizeof(*keep), ascending);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] >= (int)next) {
			close_span(next, (unsigned)keep[i] - 1);
			next = (unsigned)keep[i] + 1;
		}
	}
	close_span(next, ~0U);
}
