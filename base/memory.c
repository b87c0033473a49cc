/* Maps memory for what a process needs until it exits. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"

#define MEMSET_MAX 16384 /* costs less than what madvise(2) does */

void *
memory_map(void *hint, size_t n, size_t size, int flags)
{
	void *p = mmap(hint, n * size, PROT_READ | PROT_WRITE,
	    MAP_ANONYMOUS | flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void
memory_wipe(void *p, size_t size)
{
	unsigned char *bytes = p;
	const size_t page = (size_t)getpagesize();
	const size_t to_page = -(uintptr_t)p & (page - 1);
	const size_t head = to_page < size ? to_page : size;
	const size_t pages = (size - head) & -page;

	if (size <= MEMSET_MAX) {
		memset(bytes, 0, size);
		return;
	}
	memset(bytes, 0, head);
	if (madvise(bytes + head, pages, MADV_DONTNEED) == -1)
		memset(bytes + head, 0, pages);
	memset(bytes + head + pages, 0, size - head - pages);
}
