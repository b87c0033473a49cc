/* Waits for descriptors: the one place where poll(2) is called in a loop. */

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "io.h"

int
io_timeout(msec deadline)
{
	msec left;

	if (deadline == NEVER)
		return -1;
	left = deadline - now_ms();
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

/* poll(2) ignores negative descriptors, of which -1 is the caller's own. */
static int
hide(int fd)
{
	return -fd - 2;
}

/* 1 if it has one of its events; else it is hidden for what it has instead. */
static int
sift(struct pollfd *p)
{
	int wanted = p->events, seen = p->revents;

	if (wanted & (POLLIN | POLLOUT))
		wanted |= POLLERR | POLLHUP | POLLNVAL;
	p->revents = (short)(seen & wanted);
	if (seen && !p->revents)
		p->fd = hide(p->fd);
	return p->revents != 0;
}

int
io_wait(struct pollfd *watched, size_t n, msec deadline)
{
	int got, ready = 0;

	while (!ready) {
		got = poll(watched, n, io_timeout(deadline));
		if (got == 0)
			errno = ETIMEDOUT;
		if (got == 0 || (got == -1 && errno != EINTR))
			ready = -1;
		for (size_t i = 0; i < n && got > 0; i++)
			ready += sift(&watched[i]);
	}
	for (size_t i = 0; i < n; i++)
		if (watched[i].fd < -1)
			watched[i].fd = hide(watched[i].fd);
	return ready;
}

size_t
io_unacked(int fd)
{
	int n = 0;

	if (ioctl(fd, SIOCOUTQNSD, &n) == -1) /* no socket of TCP */
		return 0;
	return ioctl(fd, SIOCOUTQ, &n) == 0 ? (size_t)n : 0;
}

void
io_wait_acked(int fd)
{
	struct pollfd broken = {.fd = fd, .events = POLLERR | POLLHUP};
	size_t left = io_unacked(fd), before = left;
	msec deadline = now_ms() + IO_STALL_MS;

	while (left && now_ms() < deadline &&
	    io_wait(&broken, 1, now_ms() + IO_POLL_ACKED_MS) == -1 &&
	    errno == ETIMEDOUT) {
		left = io_unacked(fd);
		if (left < before)
			deadline = now_ms() + IO_STALL_MS;
		before = left;
	}
}
