/* Passes descriptors between mapper, connections and opener. */

#include <errno.h>
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
#include "dial/conn.h"

/* A message with a descriptor. */
struct fd_message {
	struct iovec iov;
	struct msghdr head;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};

static void
fd_message_init(struct fd_message *m, void *data, size_t length)
{
	memset(m, 0, sizeof(*m));
	m->iov = (struct iovec){data, length};
	m->head.msg_iov = &m->iov;
	m->head.msg_iovlen = 1;
	m->head.msg_control = m->control;
	m->head.msg_controllen = sizeof(m->control);
}

/* Sends data, and fd unless that is -1. Returns -1 with errno. */
static int
send_fd(int to, void *data, size_t length, int fd)
{
	struct fd_message m;
	struct cmsghdr *c;

	fd_message_init(&m, data, length);
	c = CMSG_FIRSTHDR(&m.head);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (fd == -1)
		m.head.msg_controllen = 0;
	return sendmsg(to, &m.head, MSG_NOSIGNAL | MSG_DONTWAIT) == -1 ? -1 : 0;
}

/*
 * Receives data and a descriptor, -1 if none came. Returns -1 with errno, 0 at
 * the end of the stream.
 */
static int
receive_fd(int from, void *data, size_t length, int *fd, int flags)
{
	struct fd_message m;
	const struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	fd_message_init(&m, data, length);
	do
		n = recvmsg(from, &m.head, MSG_CMSG_CLOEXEC | flags);
	while (n == -1 && errno == EINTR);
	if (n <= 0)
		return n == 0 ? fail_errno(0) : -1;
	c = CMSG_FIRSTHDR(&m.head);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return 0;
}

int
handover_offer(int opener)
{
	int pair[2], result, nothing = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return -1;
	result = send_fd(opener, &nothing, sizeof(nothing), pair[1]);
	close_keep_errno(pair[1]);
	return result == -1 ? close_keep_errno(pair[0]) : pair[0];
}

int
handover_ask(const struct io *io, sa_family_t family)
{
	int number = family, error = 0, fd;

	if (send_fd(io->fd, &number, sizeof(number), -1) == -1 ||
	    io_wait_for(io, POLLIN) == -1)
		return -1;
	if (receive_fd(io->fd, &error, sizeof(error), &fd, MSG_DONTWAIT) == -1)
		return errno ? -1 : fail_errno(ENOBUFS);
	return fd == -1 ? fail_errno(error) : fd;
}

int
handover_receive(int mapper)
{
	int number, fd;

	if (receive_fd(mapper, &number, sizeof(number), &fd, MSG_DONTWAIT) ==
	    -1)
		return -1;
	return fd == -1 ? fail_errno(EAGAIN) : fd;
}

/* Receives no descriptor, because to close one can block, see SO_LINGER. */
int
handover_read(int channel, sa_family_t *family)
{
	int number;
	ssize_t n = recv(channel, &number, sizeof(number), MSG_DONTWAIT);

	if (n <= 0)
		return n == 0 ? fail_errno(0) : -1;
	*family = number == AF_INET6 ? AF_INET6 : AF_INET;
	return 0;
}

void
handover_answer(int channel, int udp_fd, int error)
{
	send_fd(channel, &error, sizeof(error), udp_fd);
}

int
handover_give(int channel, struct conn *conn)
{
	return send_fd(channel, conn, sizeof(*conn), conn->client);
}

int
handover_take(int channel, struct conn *conn)
{
	int fd;

	if (receive_fd(channel, conn, sizeof(*conn), &fd, 0) == -1)
		return -1;
	conn->client = fd;
	return fd == -1 ? fail_errno(EPROTO) : 0;
}
