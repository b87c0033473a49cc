/* The life of a service, as those who start and watch it want to know it. */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "config/mask.h"
#include "server/daemon.h"

static struct life {
	int parent;          /* hears that we are ready, or -1 */
	int notify;          /* to $NOTIFY_SOCKET, or -1 */
	const char *pidfile; /* that we have locked, or NULL */
	char *shown;         /* as messages name it */
	int lock;
} life = {.parent = -1, .notify = -1};

/* The parent: what becomes of the child is what becomes of it. */
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

/* The output of whoever started us is not ours to hold open. */
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
	life.parent = ready[1];
	setsid();
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	return close(null);
}

static void
write_ready_line(int fd, const char *name, const char *line)
{
	if (fd == -1)
		return;
	if (dprintf(fd, "%s\n", line) < 0)
		log_error("%s: %s", name, strerror(errno));
	close(fd);
}

void
daemon_ready(int fd, const char *line)
{
	write_ready_line(fd, "--ready-fd", line);
	write_ready_line(life.parent, "--daemon", line);
}

/* True if the path is that of the open file. */
static bool
is_same_file(const char *path, int fd)
{
	struct stat file, open;

	return lstat(path, &file) == 0 && fstat(fd, &open) == 0 &&
	    file.st_dev == open.st_dev && file.st_ino == open.st_ino;
}

/*
 * A lock of the process: no mapper that lives on holds it. Who had it before
 * may have removed the file that we have opened.
 */
int
pidfile_create(const char *path)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char *shown = strdup(path);
	int fd, locked;

	if (!shown) {
		log_error("--pidfile: %s", strerror(errno));
		return -1;
	}
	mask_text(shown);
	life.shown = shown;
	do {
		fd =
		    open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		locked = fd == -1 ? -1 : fcntl(fd, F_SETLK, &lock);
	} while (locked == 0 && !is_same_file(path, fd) && close(fd) == 0);
	if (locked == 0 && ftruncate(fd, 0) == 0 &&
	    dprintf(fd, "%d\n", (int)getpid()) > 0) {
		life.pidfile = path;
		life.lock = fd;
		return 0;
	}
	if (fd != -1 && (errno == EAGAIN || errno == EACCES) &&
	    fcntl(fd, F_GETLK, &lock) == 0)
		log_error("--pidfile '%s': process %d has it", shown,
		    (int)lock.l_pid);
	else
		log_error("--pidfile '%s': %s", shown, strerror(errno));
	return -1;
}

void
pidfile_remove(void)
{
	/* After --pin, perhaps, the directory is not ours to write any more. */
	if (life.pidfile && is_same_file(life.pidfile, life.lock) &&
	    unlink(life.pidfile) == -1 && ftruncate(life.lock, 0) == -1)
		log_error("--pidfile '%s': %s", life.shown, strerror(errno));
	if (life.pidfile)
		close(life.lock);
	life.pidfile = NULL;
}

static int
open_notify(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	const void *addr = &un;
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;

	if (length < 2 || length >= sizeof(un.sun_path))
		return -1;
	memcpy(un.sun_path, path, length);
	if (*path == '@')
		un.sun_path[0] = '\0';
	life.notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return connect(life.notify, addr,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}

void
sd_notify_send(const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int length;

	if (life.notify == -1 && open_notify() == -1)
		return;
	va_start(ap, fmt);
	length = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (send(life.notify, text, (size_t)length,
		MSG_NOSIGNAL | MSG_DONTWAIT) == -1)
		log_debug("$NOTIFY_SOCKET: %s", strerror(errno));
}
