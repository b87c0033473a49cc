/* Memory that the kernel provides page by page. */

#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

/*
 * Maps zeroed memory for n items of `size` bytes, at `hint` if there is room.
 * `flags` are those of mmap(2), less MAP_ANONYMOUS. A page costs nothing until
 * it is touched. Nothing unmaps it. Returns NULL with errno.
 */
void *memory_map(void *hint, size_t n, size_t size, int flags);

/*
 * Fills memory with zeros. Whole pages of much memory are given back to the
 * kernel, so that it costs nothing where they were not touched.
 */
void memory_wipe(void *, size_t);

#endif
