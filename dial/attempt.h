/* One attempt to connect one socket. */

#ifndef DIAL_ATTEMPT_H
#define DIAL_ATTEMPT_H

#include <stdbool.h>
#include <sys/socket.h>

struct map;
struct target_addr;

/* Sets src=, dev= and mark= of the map on a new socket. -1 with errno. */
int set_source_options(int fd, const struct map *, int family);

/* True if a socket was connected to its own address, by a port of chance. */
bool is_self_connected(int fd, const void *peer, socklen_t length);

/* What became of connecting a socket. */
enum attempt {
	ATTEMPT_DONE,
	ATTEMPT_WAIT,  /* until it is writable, then attempt_result() */
	ATTEMPT_RETRY, /* in DIAL_RETRY_MS */
	ATTEMPT_FAILED /* with errno */
};

/* Opens a socket as the map wants it. -1 with errno. */
int attempt_open(const struct map *, int family);

enum attempt attempt_connect(int fd, const struct target_addr *);
enum attempt attempt_result(int fd, const struct target_addr *);

#endif
