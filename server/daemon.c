/* Puts the server in the background, reports readiness, keeps the pid file. */

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
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "config/mask.h"
#include "server/daemon.h"

static struct daemon {
	int parent_fd;       /* to the parent of daemonize(), or -1 */
	const char *pidfile; /* locked by this process, or NULL */
	int pidfile_fd;
} daemon_state = {.parent_fd = -1};

/* Exits with the status of the child, in the parent. */
static _Noreturn void
wait_for_child(int ready, pid_t child)
{
	int status;
	char byte;

	if (read(ready, &byte, 1) == 1)
		_exit(0);
	while (waitpid(child, &status, 0) == -1 && errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

int
daemonize(void)
{
	int ready[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid;

	if (null == -1 || pipe2(ready, O_CLOEXEC) == -1 || (pid = fork()) == -1)
		return -1;
	if (pid) {
		close(ready[1]);
		wait_for_child(ready[0], pid);
	}
	close(ready[0]);
	daemon_state.parent_fd = ready[1];
	setsid();
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	return close(null);
}

static void
write_ready_line(int fd, const char *name, const char *line)
{
	int null;

	if (fd == -1)
		return;
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (dprintf(fd, "%s\n", line) < 0)
		log_error("%s: %s", name, strerror(errno));
	/* The program of an upgrade gets the same option. */
	if (null == -1 || dup3(null, fd, O_CLOEXEC) == -1)
		log_error("%s: %s", name, strerror(errno));
	close(null);
}

void
daemon_ready(int fd, const char *line)
{
	write_ready_line(fd, "--ready-fd", line);
	write_ready_line(daemon_state.parent_fd, "--daemon", line);
}

/* Returns true if the path leads to the open file. */
static bool
is_same_file(const char *path, int fd)
{
	struct stat file, open;

	return lstat(path, &file) == 0 && fstat(fd, &open) == 0 &&
	    file.st_dev == open.st_dev && file.st_ino == open.st_ino;
}

/*
 * Opens and locks the file. The lock is of the process, so that mappers do not
 * inherit it. Opens the file again if the previous owner has removed it
 * meanwhile. Returns 0 if it is locked; *fd may be open in any case.
 */
static int
lock_pidfile(const char *path, int *fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int result;

	do {
		*fd =
		    open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		result = *fd == -1 ? -1 : fcntl(*fd, F_SETLK, &lock);
	} while (result == 0 && !is_same_file(path, *fd) && close(*fd) == 0);
	return result;
}

/* Logs an errno of a pid file; fd is -1 or the file. Returns -1. */
static int
log_pidfile_error(const char *path, int fd, int err)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char *shown = mask_copy(path);

	if (fd != -1 && (err == EAGAIN || err == EACCES) &&
	    fcntl(fd, F_GETLK, &lock) == 0)
		log_error("--pidfile '%s': process %d has it",
		    shown ? shown : "", (int)lock.l_pid);
	else
		log_error("--pidfile '%s': %s", shown ? shown : "",
		    strerror(err));
	free(shown);
	return -1;
}

int
pidfile_create(const char *path)
{
	int fd;

	if (lock_pidfile(path, &fd) == -1 || ftruncate(fd, 0) == -1 ||
	    dprintf(fd, "%d\n", (int)getpid()) <= 0)
		return log_pidfile_error(path, fd, errno);
	daemon_state.pidfile = path;
	daemon_state.pidfile_fd = fd;
	return 0;
}

int
new_file_errno(const char *path)
{
	char dir[PATH_MAX], *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	return faccessat(AT_FDCWD, slash ? dir : ".", W_OK | X_OK,
		   AT_EACCESS) == -1
	    ? errno
	    : 0;
}

/* Returns the errno with which lock_pidfile() cannot open the path, or 0. */
static int
pidfile_errno(const char *path)
{
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (lstat(path, &st) == -1)
		return errno != ENOENT   ? errno
		    : slash && !slash[1] ? EISDIR
					 : new_file_errno(path);
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) == -1
		    ? errno
		    : 0;
	case S_IFDIR:
		return EISDIR;
	case S_IFLNK:
		return ELOOP;
	default:
		return EINVAL;
	}
}

/*
 * Checks that no other process has locked the file, if it exists. Does not open
 * the file of this process, because closing it would end the lock.
 */
static int
check_unlocked(const char *path)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd, result = 0;

	if (daemon_state.pidfile && is_same_file(path, daemon_state.pidfile_fd))
		return 0;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd == -1)
		return 0;
	if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
		result = log_pidfile_error(path, fd, EAGAIN);
	close(fd);
	return result;
}

int
pidfile_check(const char *path, bool is_server)
{
	int err = pidfile_errno(path);

	if (err && (is_server || err != EACCES))
		return log_pidfile_error(path, -1, err);
	return is_server ? check_unlocked(path) : 0;
}

void
pidfile_remove(void)
{
	/* Empties the file where --pin has given up the right to remove it. */
	if (daemon_state.pidfile &&
	    is_same_file(daemon_state.pidfile, daemon_state.pidfile_fd) &&
	    unlink(daemon_state.pidfile) == -1 &&
	    ftruncate(daemon_state.pidfile_fd, 0) == -1)
		log_pidfile_error(daemon_state.pidfile, -1, errno);
	if (daemon_state.pidfile)
		close(daemon_state.pidfile_fd);
	daemon_state.pidfile = NULL;
}
