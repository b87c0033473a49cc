/* The protocols of systemd(1): sockets handed over, and notifications. */

#ifndef SERVER_SYSTEMD_H
#define SERVER_SYSTEMD_H

#include <stdbool.h>
#include <stddef.h>

struct listener;

/* Returns how many descriptors, from 3 on, $LISTEN_FDS announces. */
int systemd_fd_count(void);

/*
 * Duplicates the descriptors that $LISTEN_FDNAMES calls `name`, if they are UDP
 * sockets, or stream sockets if `udp` is false. The array has room for
 * systemd_fd_count() listeners; *n is the number that was added. Returns -1
 * with errno, ENOENT if there are none.
 */
int systemd_adopt_fds(const char *name, bool udp, struct listener *, size_t *n);

/* Sends a message to $NOTIFY_SOCKET, if there is one; see sd_notify(3). */
void sd_notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
