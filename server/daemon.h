/* The server as a daemon: background, readiness, pid file. */

#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include <stdbool.h>

/*
 * Forks a child in a new session, and returns 0 in the child; its standard
 * input and output are /dev/null. The parent exits when the child calls
 * daemon_ready() or exits, with the status of the child. Returns -1 with errno.
 */
int daemonize(void);

/*
 * Writes the line to fd, which is that of --ready-fd, and closes it, unless fd
 * is -1. Lets the parent of daemonize() exit with 0.
 */
void daemon_ready(int fd, const char *line);

/* Returns the errno with which a new file at a path cannot be made, or 0. */
int new_file_errno(const char *path);

/* Creates and locks the file, and writes the pid. Returns -1, logged. */
int pidfile_create(const char *path);

/*
 * Checks that pidfile_create() can make the file, but makes none. In the server
 * (is_server), fails also if another process has locked the file, or if this
 * user may not write it; --check may be run by another user. Returns -1,
 * logged.
 */
int pidfile_check(const char *path, bool is_server);

/*
 * Removes and unlocks the pid file, so that another server can create it. Does
 * nothing without a pid file, or when called again.
 */
void pidfile_remove(void);

#endif
