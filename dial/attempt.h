/* One attempt to connect one socket to one address. */

#ifndef DIAL_ATTEMPT_H
#define DIAL_ATTEMPT_H

#include <stdbool.h>
#include <sys/socket.h>

struct map;
struct target_addr;

#define ATTEMPT_RETRY_MS 10

enum attempt {
	ATTEMPT_DONE,
	ATTEMPT_RESET, /* connected, and reset since: errno is ECONNRESET, or
			  EPIPE if the target had ended its stream before */
	ATTEMPT_WAIT,  /* until the socket is writable, then attempt_result() */
	ATTEMPT_RETRY, /* in ATTEMPT_RETRY_MS: the backlog of a UNIX socket is
			  full, and no event reports room */
	ATTEMPT_FAILED /* with errno */
};

/*
 * Opens a non-blocking stream socket with the options of the map and those of
 * sock_set_stream_options(). Returns -1 with errno.
 */
int attempt_open(const struct map *, int family);

/* Starts to connect. */
enum attempt attempt_connect(int fd, const struct target_addr *);

/*
 * Checks, without waiting, if a socket is connected. Returns ATTEMPT_WAIT if
 * not, else ATTEMPT_DONE, or ATTEMPT_FAILED if it is connected to itself.
 */
enum attempt attempt_poll(int fd, const struct target_addr *);

/* Returns the result of a connect(2) after the socket became writable. */
enum attempt attempt_result(int fd, const struct target_addr *);

/* Sets src=, dev= and mark= on a new socket. Returns -1 with errno. */
int set_source_options(int fd, const struct map *, int family);

/*
 * Returns true if a socket is connected to itself: connect(2) to a port of the
 * ephemeral range without a listener may choose that port as its own.
 */
bool is_self_connected(int fd, const void *peer, socklen_t length);

#endif
