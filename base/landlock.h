/* Access to files and other processes, see landlock(7). */

#ifndef BASE_LANDLOCK_H
#define BASE_LANDLOCK_H

#include <stddef.h>

/*
 * Forbids access to files, except reading below the n directories (O_PATH) of
 * readable, and signals and abstract sockets outside of this process and its
 * future children. A kernel without landlock(7) does nothing of this, which is
 * no error. Flags as for sandbox_seccomp().
 */
void landlock_limit_files(unsigned flags, const int *readable, size_t n);

#endif
