/* Waits for sockets, and sends and receives whole messages until a deadline. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "base/io.h"

#include "base/clock.h"
#include "base/fd.h"

#define CONNECT_RETRY_MS 20 /* while the backlog of a UNIX socket is full */

/*
 * Converts a descriptor into a negative number, which poll(2) ignores, and
 * back. -1 is not used because callers pass it to say "no descriptor".
 */
static int
toggle_ignored(int fd)
{
	return -fd - 2;
}

/*
 * Removes from revents the events that do not count. Returns 1 if some are
 * left. If all were removed, makes poll(2) ignore the descriptor from then on.
 */
static int
keep_wanted_events(struct pollfd *p)
{
	int wanted = p->events, seen = p->revents;

	if (wanted & (POLLIN | POLLOUT))
		wanted |= POLLERR | POLLHUP | POLLNVAL;
	p->revents = (short)(seen & wanted);
	if (seen && !p->revents)
		p->fd = toggle_ignored(p->fd);
	return p->revents != 0;
}

int
io_wait(struct pollfd *watched, size_t n, msec deadline)
{
	int got, ready = 0;

	while (!ready) {
		got = poll(watched, n, poll_timeout(deadline));
		if (got == 0)
			errno = ETIMEDOUT;
		if (got == 0 || (got == -1 && errno != EINTR))
			ready = -1;
		for (size_t i = 0; i < n && got > 0; i++)
			ready += keep_wanted_events(&watched[i]);
	}
	for (size_t i = 0; i < n; i++)
		if (watched[i].fd < -1)
			watched[i].fd = toggle_ignored(watched[i].fd);
	return ready;
}

/*
 * Does not block, because connect(2) of a full backlog waits without a limit.
 */
int
io_connect_unix(const char *path, msec deadline)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const void *p = &addr;
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path))
		return fail_errno(ENAMETOOLONG);
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -1;
	while (connect(fd, p, sizeof(addr)) == -1) {
		if (errno != EAGAIN || now_ms() >= deadline) {
			errno = errno == EAGAIN ? ETIMEDOUT : errno;
			return close_keep_errno(fd);
		}
		poll(NULL, 0, CONNECT_RETRY_MS);
	}
	return fd;
}

size_t
io_unacked(int fd)
{
	int n = 0;

	if (ioctl(fd, SIOCOUTQNSD, &n) == -1) /* not TCP */
		return 0;
	return ioctl(fd, SIOCOUTQ, &n) == 0 ? (size_t)n : 0;
}

int
io_pipe(int ends[2], int size, int size_min)
{
	int given;

	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) == -1)
		return -1;
	given = fcntl(ends[1], F_SETPIPE_SZ, size);
	if (given == -1)
		given = fcntl(ends[1], F_GETPIPE_SZ);
	if (given >= size_min)
		return 0;
	io_close_pipe(ends);
	return -1;
}

void
io_close_pipe(int ends[2])
{
	close(ends[0]);
	close(ends[1]);
	ends[0] = ends[1] = -1;
}

void
io_wait_acked(int fd)
{
	struct pollfd gone = {.fd = fd, .events = POLLERR | POLLHUP};
	size_t left = io_unacked(fd), before = left;
	msec deadline = now_ms() + IO_STALL_MS;

	while (left && now_ms() < deadline &&
	    io_wait(&gone, 1, now_ms() + IO_POLL_ACKED_MS) == -1 &&
	    errno == ETIMEDOUT) {
		left = io_unacked(fd);
		if (left < before)
			deadline = now_ms() + IO_STALL_MS;
		before = left;
	}
}

int
fail_errno(int err)
{
	errno = err;
	return -1;
}

int
io_wait_for(const struct io *io, short events)
{
	struct pollfd watched[2] = {
	    {.fd = io->fd, .events = events},
	    {.fd = io->abort_fd, .events = POLLERR},
	};

	if (io_wait(watched, 2, io->deadline) == -1)
		return -1;
	return watched[1].revents ? fail_errno(ECONNABORTED) : 0;
}

int
io_write_all(const struct io *io, const void *data, size_t length)
{
	const unsigned char *next = data;

	while (length) {
		ssize_t n = send(io->fd, next, length, MSG_NOSIGNAL);

		if (n == -1 && errno == EAGAIN) {
			if (io_wait_for(io, POLLOUT) == -1)
				return -1;
		} else if (n == -1 && errno != EINTR) {
			return -1;
		} else if (n > 0) {
			next += n;
			length -= (size_t)n;
		}
	}
	return 0;
}

/*
 * Peeks at bytes before it receives any. If the message needs more bytes, all
 * bytes that have arrived belong to the message and are received, so that the
 * next wait is for more. Otherwise only the rest of the message is received.
 */
ssize_t
io_read_message(const struct io *io, unsigned char *data, size_t size,
    io_parser *parse, void *arg)
{
	size_t have = 0;
	ssize_t n, used = 0;

	while (!used) {
		n = size - have < IO_PEEK ? (ssize_t)(size - have) : IO_PEEK;
		n = recv(io->fd, data + have, (size_t)n, MSG_PEEK);
		if (n == -1 && errno == EAGAIN) {
			if (io_wait_for(io, POLLIN) == -1)
				return -1;
			continue;
		}
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -1 : fail_errno(ECONNRESET);
		used = parse(data, have + (size_t)n, arg);
		if (used == -1)
			return -1;
		if (used)
			n = used - (ssize_t)have;
		if (n <= 0 || recv(io->fd, data + have, (size_t)n, 0) != n)
			return fail_errno(EPROTO);
		have += (size_t)n;
		if (!used && have == size)
			return fail_errno(EMSGSIZE);
	}
	return used;
}
