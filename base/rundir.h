/* The runtime directories, where servers have their sockets. */

#ifndef BASE_RUNDIR_H
#define BASE_RUNDIR_H

#include <stdbool.h>
#include <stddef.h>

#define RUNDIR_SOCKET "status." /* the pid of the server follows */

/*
 * Writes runtime directory i, from 0 on, in the order in which a server tries
 * them: that of systemd.exec(5), /run/nsfwd for root, and that of the user.
 * Returns false if there is none from i on. One in between can be "".
 */
bool rundir_path(char *path, size_t size, int i);

#endif
