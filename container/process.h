/* Identifies the process of a container. */

#ifndef CONTAINER_PROCESS_H
#define CONTAINER_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROCESS_MARK_SIZE 512

/*
 * A process, by more than its number, which another process can get later. The
 * mark is the number of its container, or ':' and the path of its control
 * group.
 */
struct process {
	int pid;        /* 0: there is none */
	uint64_t start; /* ticks since the boot, see proc(5); 0: not known */
	char mark[PROCESS_MARK_SIZE];
};

/*
 * Opens /proc/PID (O_PATH) and checks that the process has the mark: in its
 * control group; or, of a container without one, as an argument of the parent,
 * which is the runtime's monitor. Returns a descriptor; or -1 with ESRCH if the
 * process has ended, EXDEV if it is another process, or with an errno of
 * errno_is_shortage(), which tells nothing of the process.
 */
int process_open(const struct process *);

/* Sets `start`. Returns as process_open(), without a descriptor: 0, or -1. */
int process_identify(struct process *);

/*
 * Reads the start of a file that must be regular, and ends it by a NUL. dir is
 * as for openat(2). Returns the length, or -1 with errno: EFBIG if the file
 * does not fit, EINVAL if it is not regular.
 */
long process_read_file(int dir, const char *path, char *buf, size_t size);

/* Returns a number of the text of /proc/PID/stat, see proc(5); 0 if absent. */
#define STAT_PARENT 4
#define STAT_FLAGS  9
#define STAT_START  22
uint64_t process_stat_field(const char *stat, int field);

/* Returns true if this process does not see the processes of the host. */
bool process_has_own_pids(void);

#endif
