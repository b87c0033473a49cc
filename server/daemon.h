/* Background, pid file, readiness. */

#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include <stdio.h>

/*
 * Goes on in the background, in a new session: the caller is the child. The
 * parent waits for life_ready(), or the end, and exits with its status.
 * -1 with errno.
 */
int daemonize(void);

/* The caller is ready: the parent goes, and --ready-fd, if not -1, gets the line. */
void daemon_ready(int fd, const char *line);

/* Takes and locks the file, and writes the pid: 0, or -1, logged. */
int pidfile_create(const char *path);

/*
 * Removes it, if it is still there, and unlocks it: another server may have it
 * from now on. Does nothing the second time.
 */
void pidfile_remove(void);

/* Tells systemd or the like, where $NOTIFY_SOCKET says how; see sd_notify(3). */
void sd_notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
