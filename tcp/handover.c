/* Passes descriptors between connections and the opener, see unix(7). */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tcp/handover.h"

#include "base/fd.h"
#include "base/io.h"

#define FDS_MAX 2 /* in a message */

/* A message of one number and up to FDS_MAX descriptors. */
struct fd_message {
	int number; /* the family in a request, an errno in an answer */
	struct iovec iov;
	struct msghdr head;
	_Alignas(
	    struct cmsghdr) char control[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

static void
fd_message_init(struct fd_message *m)
{
	memset(m, 0, sizeof(*m));
	m->iov = (struct iovec){&m->number, sizeof(m->number)};
	m->head.msg_iov = &m->iov;
	m->head.msg_iovlen = 1;
	m->head.msg_control = m->control;
	m->head.msg_controllen = sizeof(m->control);
}

/* Sends a number and n descriptors. Returns -1 with errno. */
static int
send_fds(int to, int number, const int *fds, size_t n)
{
	struct fd_message m;
	struct cmsghdr *c;

	fd_message_init(&m);
	m.number = number;
	c = CMSG_FIRSTHDR(&m.head);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = (socklen_t)CMSG_LEN(n * sizeof(*fds));
	if (n)
		memcpy(CMSG_DATA(c), fds, n * sizeof(*fds));
	m.head.msg_controllen = n ? (socklen_t)CMSG_SPACE(n * sizeof(*fds)) : 0;
	return sendmsg(to, &m.head, MSG_NOSIGNAL | MSG_DONTWAIT) == -1 ? -1 : 0;
}

/*
 * Receives a number and descriptors; those that did not come are -1. Returns -1
 * with errno, 0 at the end of the stream.
 */
static int
receive_fds(int from, int *number, int fds[FDS_MAX])
{
	struct fd_message m;
	const struct cmsghdr *c;
	ssize_t n;

	memset(fds, -1, FDS_MAX * sizeof(*fds));
	fd_message_init(&m);
	n = recvmsg(from, &m.head, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n <= 0)
		return n == 0 ? fail_errno(0) : -1;
	c = CMSG_FIRSTHDR(&m.head);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	*number = m.number;
	return 0;
}

/* Returns the UDP socket that arrives on io->fd, or -1 with errno. */
static int
await_answer(const struct io *io)
{
	int error = 0, fds[FDS_MAX] = {-1, -1};

	if (io_wait_for(io, POLLIN) == -1)
		return -1;
	if (receive_fds(io->fd, &error, fds) == -1)
		return errno ? -1 : fail_errno(ENOBUFS);
	return fds[0] == -1 ? fail_errno(error) : fds[0];
}

int
handover_ask(const struct io *io, sa_family_t family)
{
	struct io own = *io;
	int pair[2], fd, result;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return -1;
	do
		result = send_fds(io->fd, family, &pair[1], 1);
	while (
	    result == -1 && errno == EAGAIN && io_wait_for(io, POLLOUT) == 0);
	close_keep_errno(pair[1]);
	own.fd = pair[0];
	fd = result == -1 ? -1 : await_answer(&own);
	close_keep_errno(pair[0]);
	return fd;
}

int
handover_receive(int channel, sa_family_t *family)
{
	int number = 0, fds[FDS_MAX] = {-1, -1};

	if (receive_fds(channel, &number, fds) == -1)
		return -1;
	*family = number == AF_INET6 ? AF_INET6 : AF_INET;
	if (fds[1] != -1)
		close(fds[1]);
	return fds[0] == -1 ? fail_errno(EAGAIN) : fds[0];
}

int
handover_grant(int fd, int udp_fd)
{
	int pair[2], fds[FDS_MAX], result;

	if (pipe2(pair, O_CLOEXEC) == -1)
		return -1;
	fds[0] = udp_fd;
	fds[1] = pair[1];
	result = send_fds(fd, 0, fds, FDS_MAX);
	close_keep_errno(pair[1]);
	return result == -1 ? close_keep_errno(pair[0]) : pair[0];
}

void
handover_refuse(int fd, int error)
{
	send_fds(fd, error, NULL, 0);
}
