/* Maps memory for what a process needs until it exits. */

#include <stddef.h>
#include <sys/mman.h>

#include "base/memory.h"

void *
memory_map(void *hint, size_t n, size_t size, int flags)
{
	void *p = mmap(hint, n * size, PROT_READ | PROT_WRITE,
	    MAP_ANONYMOUS | flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}
