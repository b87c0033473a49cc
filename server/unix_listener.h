/* Listening UNIX sockets, and the files that they make. */

#ifndef SERVER_UNIX_LISTENER_H
#define SERVER_UNIX_LISTENER_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct cred;

/*
 * The file that a listener has made. The inode number is not reused while the
 * listener is open.
 */
struct unix_file {
	dev_t dev;
	ino_t ino;
};

/* The address to bind a socket to, and the rights of its file. */
struct unix_address {
	struct sockaddr_un un; /* with a path */
	socklen_t length;
	mode_t mode;              /* of the file; 0: by the umask */
	const struct cred *owner; /* NULL: as the process */
};

/*
 * Binds fd and calls listen(2). Replaces the file of a socket that is no longer
 * bound, but no other file. Sets the umask of the process to 0 if there is a
 * mode. Returns -1 with errno, ENOTSOCK if the file is no socket. Allocates
 * nothing.
 */
int unix_bind(int fd, const struct unix_address *);

/*
 * Opens a non-blocking listener at a path, for the user of the process only, or
 * takes the one that the program before an upgrade has left there.
 * Returns the descriptor, or -1 with errno.
 */
int unix_listen(const char *path);

/* Removes the file of a socket that is no longer bound, but no other file. */
void unix_remove_stale(const char *path);

/* Records the file that a listener has just made at a path. */
void unix_file_record(struct unix_file *, const char *path);

/*
 * Returns true if the path no longer leads to the file, false if that cannot be
 * determined.
 */
bool unix_file_changed(const struct unix_file *, const char *path);

/* Removes the file, unless the path leads to another one. */
void unix_file_remove(const struct unix_file *, const char *path);

#endif
