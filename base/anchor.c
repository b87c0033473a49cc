/* Opens files by a path, and remembers the process that a number in it named. */

/*
 * Theory of operation
 *
 * A path such as /proc/N/ns/net names a process by a number, which is another
 * process's when that one has ended. An open directory of /proc belongs to one
 * process for good: once it has ended, nothing can be opened in the directory,
 * whatever process has the number N. So the directory is kept open, the anchor,
 * and the rest of the path is opened from there.
 *
 * Each name of a path is looked up on its own, since links may lead into /proc
 * from anywhere. If they lead to another directory than at the first time, its
 * path tells, that is a new process and a new anchor.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>
#include <linux/openat2.h>

#include "base/anchor.h"
#include "base/fd.h"

#define LINKS_MAX     40 /* followed in one path, as the kernel does */
#define PROC_ROOT     1  /* the inode of /proc */
#define REMAINING_MAX (NAME_MAX + PATH_MAX)

/* O_NONBLOCK because a FIFO must not hang us. */
#define OPEN_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

struct anchor {
	unsigned users;
	int dir;    /* -1: no process was seen */
	char *path; /* of the directory, owned */
};

struct anchor *
anchor_new(void)
{
	struct anchor *a = malloc(sizeof(*a));

	if (a)
		*a = (struct anchor){.users = 1, .dir = -1};
	return a;
}

struct anchor *
anchor_share(struct anchor *a)
{
	a->users++;
	return a;
}

void
anchor_free(struct anchor *a)
{
	if (!a || --a->users)
		return;
	if (a->dir != -1)
		close(a->dir);
	free(a->path);
	free(a);
}

bool
anchor_seen(const struct anchor *a)
{
	return a && a->dir != -1;
}

static int
open_dir(int dir, const char *name, int flags)
{
	return openat(dir, name, O_PATH | O_CLOEXEC | flags);
}

static bool
is_link(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISLNK(st.st_mode);
}

static bool
is_in_proc(int dir, bool root)
{
	struct statfs fs;
	struct stat st;

	return fstatfs(dir, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC &&
	    fstat(dir, &st) == 0 && (st.st_ino == PROC_ROOT) == root;
}

/* Cuts the first name off a path; false when there is none. */
static bool
cut_name(char *path, char *name)
{
	size_t slashes = strspn(path, "/");
	size_t length = strcspn(path + slashes, "/");

	if (!length || length > NAME_MAX)
		return false;
	memcpy(name, path + slashes, length);
	name[length] = '\0';
	memmove(path, path + slashes + length,
	    strlen(path + slashes + length) + 1);
	return true;
}

/* Puts the text of a link in front of a path of PATH_MAX. -1 with errno. */
static int
put_link(int fd, char *path)
{
	size_t length = strlen(path);
	char text[PATH_MAX];
	ssize_t n = readlinkat(fd, "", text, sizeof(text));

	if (n == -1)
		return -1;
	if ((size_t)n + length >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memmove(path + n, path, length + 1);
	memcpy(path, text, (size_t)n);
	return 0;
}

/*
 * One step on a path: from dir, which it closes, to the file of that name, or,
 * where that is an ordinary link, to where the rest of the path begins now.
 * -1 with errno; ESRCH: there is no such process.
 */
static int
walk_step(int dir, int fd, char *path)
{
	int next = fd;

	if (fd == -1) {
		if (errno == ENOENT && is_in_proc(dir, true))
			errno = ESRCH;
	} else if (is_link(fd)) {
		next = put_link(fd, path);
		if (next == 0 && *path == '/')
			next = open_dir(AT_FDCWD, "/", 0);
		else if (next == 0)
			next = open_dir(dir, ".", 0);
		close_keep_errno(fd);
	}
	close_keep_errno(dir);
	return next;
}

/*
 * Finds the last directory of a process that a path leads through by a link of
 * it, and what is left of the path from there. Those links (ns, fd, root, cwd)
 * do not lead where readlink(2) says. Returns the directory, open; or -1 with
 * errno, 0 if there is none.
 */
static int
find_anchor(const char *path, char *remaining)
{
	char todo[PATH_MAX], name[NAME_MAX + 1];
	int anchor = -1, dir, fd;

	snprintf(todo, sizeof(todo), "%s", path);
	dir = open_dir(AT_FDCWD, *todo == '/' ? "/" : ".", 0);
	for (int links = 0; dir != -1 && cut_name(todo, name);) {
		fd = open_dir(dir, name, O_NOFOLLOW);
		if (fd != -1 && is_link(fd) && links++ == LINKS_MAX) {
			close(fd);
			fd = -1;
			errno = ELOOP;
		}
		if (fd == -1 || !is_link(fd) || !is_in_proc(dir, false)) {
			dir = walk_step(dir, fd, todo);
			continue;
		}
		close(fd);
		if (anchor != -1)
			close(anchor);
		anchor = dir;
		snprintf(remaining, REMAINING_MAX, "%s%s", name, todo);
		dir = open_dir(anchor, name, 0);
		if (dir ==
		    -1) /* its process has ended, or is not ours to see */
			return anchor;
	}
	if (dir != -1) {
		close(dir);
		errno = 0;
		return anchor;
	}
	if (anchor != -1)
		close_keep_errno(anchor);
	return -1;
}

/* The path of an open directory. -1 with errno. */
static int
path_of(int dir, char *path)
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
	n = readlink(link, path, PATH_MAX - 1);
	if (n == -1)
		return -1;
	path[n] = '\0';
	return 0;
}

/* Opens rest from the directory of a process. ESRCH: that has ended. */
static int
open_remaining(int dir, const char *rest)
{
	int fd = openat(dir, rest, OPEN_FLAGS), link;
	char name[NAME_MAX + 1];

	if (fd != -1 || (errno != ENOENT && errno != ESRCH))
		return fd;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(rest, "/"), rest);
	link = open_dir(dir, name, 0);
	if (link == -1) {
		errno = ESRCH;
	} else {
		close(link);
		errno = ENOENT;
	}
	return -1;
}

/*
 * The same, and closes the directory or keeps it: if it has the path of the
 * anchor, the process of the anchor is meant.
 */
static int
open_anchored(struct anchor *a, int dir, const char *rest)
{
	char path[PATH_MAX], *copy = NULL;
	int fd = -1;

	if (path_of(dir, path) == 0) {
		if (a->dir != -1 && strcmp(a->path, path) == 0)
			fd = open_remaining(a->dir, rest);
		else if ((copy = strdup(path)))
			fd = open_remaining(dir, rest);
	}
	if (fd == -1 || !copy) {
		free(copy);
		close_keep_errno(dir);
		return fd;
	}
	if (a->dir != -1)
		close(a->dir);
	free(a->path);
	a->dir = dir;
	a->path = copy;
	return fd;
}

/*
 * Most paths lead through no process: openat2(2) learns that in one call. A
 * kernel before 5.6, or a filter, does not have it.
 */
int
anchor_open(struct anchor *a, const char *path)
{
	const struct open_how plain = {
	    .flags = OPEN_FLAGS,
	    .resolve = RESOLVE_NO_MAGICLINKS,
	};
	char remaining[REMAINING_MAX];
	int fd, dir, error;

	if (!a)
		return open(path, OPEN_FLAGS);
	fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &plain, sizeof(plain));
	if (fd != -1)
		return fd;
	error = errno;
	dir = find_anchor(path, remaining);
	if (dir != -1)
		return open_anchored(a, dir, remaining);
	if (!errno && (error == ENOSYS || error == EPERM))
		return open(path, OPEN_FLAGS);
	errno = errno ? errno : error;
	return -1;
}
