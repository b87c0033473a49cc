/* Takes the access to files, and to other processes, from a process. */

#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "base/landlock.h"

#include "base/seccomp.h"
#include "base/syscall_numbers.h"

/* The layouts of linux/landlock.h, which older headers lack in part. */
struct landlock_ruleset {
	uint64_t handled[3]; /* files, ports, scopes */
};
struct landlock_path {
	uint64_t allowed;
	int32_t dir;
} __attribute__((packed));

#define LANDLOCK_READ_FILE (1u << 2)
#define LANDLOCK_READ_DIR  (1u << 3)
#define LANDLOCK_PATH_RULE 1

/* Returns a ruleset that denies all that this kernel can deny, or -1. */
static int
open_ruleset(unsigned flags)
{
	static const unsigned rights[] = {0, 13, 14, 15, 15, 16};
	struct landlock_ruleset r = {{0, 0, (flags & SANDBOX_UNIX) ? 2 : 3}};
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	if (version < 1)
		return -1;
	r.handled[0] = (1u << rights[version < 5 ? version : 5]) - 1;
	return (int)syscall(SYS_landlock_create_ruleset, &r,
	    version < 6 ? sizeof(r.handled[0]) : sizeof(r), 0);
}

void
landlock_limit_files(unsigned flags, const int *readable, size_t n)
{
	struct landlock_path rule = {.allowed = LANDLOCK_READ_FILE};
	int fd;

#ifdef NO_SECCOMP
	return;
#endif
	fd = open_ruleset(flags);
	for (size_t i = 0; i < n && fd != -1; i++) {
		rule.dir = readable[i];
		syscall(SYS_landlock_add_rule, fd, LANDLOCK_PATH_RULE, &rule,
		    0);
	}
	if (fd == -1)
		return;
	syscall(SYS_landlock_restrict_self, fd, 0);
	close(fd);
}
