/* Opens listening UNIX sockets, and recognizes their files. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sandbox.h"
#include "base/sock.h"
#include "server/listen.h"
#include "server/unix_listener.h"
#include "server/upgrade.h"

/* Fills in an address. Returns -1 with errno if the path is too long. */
static int
set_path(struct unix_address *address, const char *path)
{
	size_t length = strlen(path);

	*address = (struct unix_address){.un = {.sun_family = AF_UNIX}};
	if (length >= sizeof(address->un.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address->un.sun_path, path, length);
	address->length =
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
	return 0;
}

/*
 * Removes the file of a socket that is no longer bound: connect(2) then fails
 * with ECONNREFUSED. connect(2) is called on a datagram socket, so that a
 * listener that is bound gets no client: the error is EPROTOTYPE.
 */
static int
remove_stale(const struct unix_address *address)
{
	const void *addr = &address->un;
	const char *path = address->un.sun_path;
	struct stat st;
	int fd, error = EADDRINUSE;

	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		errno = ENOTSOCK;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	if (connect(fd, addr, address->length) == -1 && errno == ECONNREFUSED)
		error = unlink(path) == 0 ? 0 : errno;
	close(fd);
	errno = error;
	return error ? -1 : 0;
}

void
unix_remove_stale(const char *path)
{
	struct unix_address address;

	if (set_path(&address, path) == 0)
		remove_stale(&address);
}

/*
 * Uses a descriptor of the file, so that a user who may rename files there
 * cannot make another file change its owner.
 */
static int
set_owner(const char *path, const struct cred *owner)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), result = -1;
	struct stat st;

	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
		result =
		    fchownat(fd, "", owner->uid, owner->gid, AT_EMPTY_PATH);
	close(fd);
	return result;
}

/* bind(2) gives the file the mode of the socket, less the umask. */
int
unix_bind(int fd, const struct unix_address *address)
{
	const void *addr = &address->un;
	const char *path = address->un.sun_path;
	int saved;

	if (address->mode &&
	    (fchmod(fd, address->mode) == -1 || umask(0) == (mode_t)-1))
		return -1;
	if (bind(fd, addr, address->length) == -1 &&
	    (errno != EADDRINUSE || remove_stale(address) == -1 ||
		bind(fd, addr, address->length) == -1))
		return -1;
	if ((!address->owner || set_owner(path, address->owner) == 0) &&
	    listen(fd, LISTEN_BACKLOG) == 0)
		return 0;
	saved = errno;
	unlink(path);
	errno = saved;
	return -1;
}

int
unix_listen(const char *path)
{
	struct unix_address address;
	mode_t old;
	int fd, result;

	if (set_path(&address, path) == -1)
		return -1;
	fd = upgrade_take(UPGRADE_NO_NS, &address.un, address.length,
	    SOCK_STREAM);
	if (fd != -1 && access(path, F_OK) == 0)
		return fd;
	if (fd != -1)
		close(fd); /* its file was removed */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	old = umask(077);
	result = unix_bind(fd, &address);
	umask(old);
	return result == 0 ? fd : close_keep_errno(fd);
}

void
unix_file_record(struct unix_file *file, const char *path)
{
	struct stat st;

	if (lstat(path, &st) == -1)
		return;
	file->dev = st.st_dev;
	file->ino = st.st_ino;
}

bool
unix_file_changed(const struct unix_file *file, const char *path)
{
	struct stat st;

	if (lstat(path, &st) == -1)
		return errno == ENOENT || errno == ENOTDIR;
	return st.st_dev != file->dev || st.st_ino != file->ino;
}

void
unix_file_remove(const struct unix_file *file, const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 && st.st_dev == file->dev &&
	    st.st_ino == file->ino)
		unlink(path);
}
