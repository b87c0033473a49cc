/* Opens files by path and binds /proc/N in a path to one process. */

/*
 * Theory of operation
 *
 * A path such as /proc/N/ns/net names a process by its number, which a new
 * process can get after the first one has exited. An open directory /proc/N
 * belongs to one process for good: after that process has exited, nothing can
 * be opened in the directory, even if a new process has the number N. So the
 * anchor keeps that directory open, and the rest of the path is opened relative
 * to it.
 *
 * The names of a path are looked up one by one, because a symbolic link
 * anywhere may lead into /proc. If the links lead to another directory of /proc
 * than before, the path means another process now, and the anchor is bound to
 * that process.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>
#include <linux/openat2.h>

#include "base/anchor.h"

#include "base/fd.h"
#include "base/syscall_numbers.h"

#define LINKS_MAX     40 /* the limit of the kernel, see path_resolution(7) */
#define PROC_ROOT     1  /* the inode number of /proc */
#define REMAINING_MAX (NAME_MAX + PATH_MAX)

/* O_NONBLOCK so that a FIFO does not block. */
#define OPEN_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

struct anchor {
	unsigned references;
	int dir;    /* /proc/N of the process; -1: bound to none */
	char *path; /* of the directory; owned */
	bool used;  /* the last anchor_open() led through dir */
};

struct anchor *
anchor_new(void)
{
	struct anchor *a = malloc(sizeof(*a));

	if (a)
		*a = (struct anchor){.references = 1, .dir = -1};
	return a;
}

struct anchor *
anchor_share(struct anchor *a)
{
	a->references++;
	return a;
}

void
anchor_free(struct anchor *a)
{
	if (!a || --a->references)
		return;
	if (a->dir != -1)
		close(a->dir);
	free(a->path);
	free(a);
}

bool
anchor_used(const struct anchor *a)
{
	return a && a->used;
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

/* Returns true if dir is /proc itself (root), or a directory below it. */
static bool
is_in_proc(int dir, bool root)
{
	struct statfs fs;
	struct stat st;

	return fstatfs(dir, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC &&
	    fstat(dir, &st) == 0 && (st.st_ino == PROC_ROOT) == root;
}

/* Moves the first name of a path into name. Returns false if there is none. */
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

/*
 * Prepends the target of a symbolic link to a path of PATH_MAX bytes. Returns
 * 0, or -1 with errno.
 */
static int
prepend_link(int fd, char *path)
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
 * Goes one step along a path: from dir, which is closed, to fd. If fd is a
 * symbolic link, its target is prepended to path, and the step leads to where
 * path then starts. Returns a descriptor; or -1 with errno, ESRCH if dir is
 * /proc and has no such process.
 */
static int
walk_step(int dir, int fd, char *path)
{
	int next = fd;

	if (fd == -1) {
		if (errno == ENOENT && is_in_proc(dir, true))
			errno = ESRCH;
	} else if (is_link(fd)) {
		next = prepend_link(fd, path);
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
 * Follows a path up to the last link in a directory below /proc, such as
 * ns/net, fd/3, root or cwd, and copies the rest of the path, which begins with
 * that link. Returns the directory, open; or -1 with errno, which is 0 if the
 * path has no such link. The link itself is followed by opening it, because
 * readlink(2) does not give its real target.
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
		/* The process has exited, or may not be examined. */
		if (dir == -1)
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

/* Copies the path of an open directory. Returns 0, or -1 with errno. */
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

/*
 * Opens a path relative to the directory of a process. Returns a descriptor; or
 * -1 with errno, ESRCH if the process has exited.
 */
static int
open_remaining(int dir, const char *remaining)
{
	int fd = openat(dir, remaining, OPEN_FLAGS), link;
	char name[NAME_MAX + 1];

	if (fd != -1 || (errno != ENOENT && errno != ESRCH))
		return fd;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(remaining, "/"),
	    remaining);
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
 * Opens a path relative to dir, the directory of a process, and binds the
 * anchor to dir. If the anchor is bound to a directory that had the same path,
 * opens the path there and closes dir, because the number means the older
 * process.
 */
static int
open_anchored(struct anchor *a, int dir, const char *remaining)
{
	char path[PATH_MAX], *copy = NULL;
	int fd = -1;

	if (path_of(dir, path) == 0) {
		if (a->dir != -1 && strcmp(a->path, path) == 0)
			fd = open_remaining(a->dir, remaining);
		else if ((copy = strdup(path)))
			fd = open_remaining(dir, remaining);
	}
	if (fd == -1 || !copy) {
		free(copy);
		close_keep_errno(dir);
		a->used = fd != -1;
		return fd;
	}
	if (a->dir != -1)
		close(a->dir);
	free(a->path);
	a->dir = dir;
	a->path = copy;
	a->used = true;
	return fd;
}

int
anchor_bind(struct anchor *a, int dir)
{
	char path[PATH_MAX], *copy;

	if (path_of(dir, path) == -1 || !(copy = strdup(path)))
		return close_keep_errno(dir);
	if (a->dir != -1)
		close(a->dir);
	free(a->path);
	a->dir = dir;
	a->path = copy;
	return 0;
}

int
anchor_open_below(struct anchor *a, const char *path)
{
	int fd = open_remaining(a->dir, path);

	a->used = fd != -1;
	return fd;
}

/*
 * A path that leads through no process takes one call, openat2(2), which Linux
 * before 5.6 or a filter may refuse.
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
	a->used = false;
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

/*
 * Opens a file of the process, by its path from a directory of /proc/N. The
 * anchor is bound to /proc/N, or to the directory in it that has the link.
 */
static int
open_of_process(const struct anchor *a, const char *above, int flags)
{
	int fd = openat(a->dir, above + strlen("../"), flags | O_CLOEXEC);

	if (fd == -1 && errno == ENOENT)
		fd = openat(a->dir, above, flags | O_CLOEXEC);
	if (fd == -1 && errno == ENOENT)
		errno = ESRCH;
	return fd;
}

int
anchor_open_root(const struct anchor *a)
{
	return open_of_process(a, "../root", O_PATH | O_DIRECTORY);
}

int
anchor_open_mounts(const struct anchor *a)
{
	return open_of_process(a, "../ns/mnt", O_RDONLY);
}

int
anchor_pid(const struct anchor *a)
{
	static const char proc[] = "/proc/";

	return a && a->path && strncmp(a->path, proc, strlen(proc)) == 0
	    ? (int)strtol(a->path + strlen(proc), NULL, 10)
	    : 0;
}
