/* Identifies the process of a container. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/errname.h"
#include "base/fd.h"
#include "container/process.h"

#define FILE_MAX    8192
#define INIT_PID_NS 0xEFFFFFFC /* PROC_PID_INIT_INO of Linux */

long
process_read_file(int dir, const char *path, char *buf, size_t size)
{
	int fd =
	    openat(dir, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = 0;
	struct stat st;

	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	while (used < size && (n = read(fd, buf + used, size - used)) > 0)
		used += (size_t)n;
	close_keep_errno(fd);
	if (n != -1 && used < size) {
		buf[used] = '\0';
		return (long)used;
	}
	errno = n == -1 ? errno : EFBIG;
	return -1;
}

uint64_t
process_stat_field(const char *stat, int field)
{
	const char *p = strrchr(stat, ')'); /* the end of field 2 */

	for (int i = 2; p && i < field; i++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p, NULL, 10) : 0;
}

/* Returns a number of /proc/PID/stat; 0 if the process has ended. */
static uint64_t
read_stat(int dir, int field)
{
	char buf[1024];

	return process_read_file(dir, "stat", buf, sizeof(buf)) == -1
	    ? 0
	    : process_stat_field(buf, field);
}

/* A path ends at a line or a '/'; the number of a container at no digit. */
static bool
ends_mark(const char *mark, char next)
{
	return *mark == ':' ? !next || next == '\n' || next == '/'
			    : !isalnum((unsigned char)next);
}

static bool
has_mark(const char *text, const char *mark)
{
	size_t length = strlen(mark);

	for (; (text = strstr(text, mark)); text++)
		if (ends_mark(mark, text[length]))
			return true;
	return false;
}

/*
 * Returns true if the parent has the mark as an argument, and belongs to root
 * or to the user of this process.
 */
static bool
parent_has_mark(int dir, const char *mark)
{
	char path[32], buf[FILE_MAX];
	struct stat st;
	long length;

	snprintf(path, sizeof(path), "/proc/%d/cmdline",
	    (int)read_stat(dir, STAT_PARENT));
	length = process_read_file(AT_FDCWD, path, buf, sizeof(buf));
	if (length == -1 || stat(path, &st) == -1 ||
	    (st.st_uid != 0 && st.st_uid != geteuid()))
		return false;
	for (const char *arg = buf; arg < buf + length; arg += strlen(arg) + 1)
		if (strcmp(arg, mark) == 0)
			return true;
	return false;
}

static bool
is_meant(int dir, const struct process *p)
{
	char buf[FILE_MAX];
	uint64_t start = read_stat(dir, STAT_START);

	if (!start || (p->start && p->start != start) || !*p->mark)
		return false;
	if (process_read_file(dir, "cgroup", buf, sizeof(buf)) != -1 &&
	    has_mark(buf, p->mark))
		return true;
	return *p->mark != ':' && parent_has_mark(dir, p->mark);
}

int
process_open(const struct process *p)
{
	char path[32];
	int dir = -1;

	snprintf(path, sizeof(path), "/proc/%d", p->pid);
	errno = 0;
	if (p->pid > 0)
		dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir != -1 && is_meant(dir, p))
		return dir;
	if (dir != -1)
		close_keep_errno(dir);
	if (!errno_is_shortage(errno))
		errno = dir == -1 ? ESRCH : EXDEV;
	return -1;
}

int
process_identify(struct process *p)
{
	int dir;

	p->start = 0;
	dir = process_open(p);
	if (dir == -1)
		return -1;
	p->start = read_stat(dir, STAT_START);
	close(dir);
	errno = ESRCH;
	return p->start ? 0 : -1;
}

bool
process_has_own_pids(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 && st.st_ino != INIT_PID_NS;
}
