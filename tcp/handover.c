/* Passes descriptors between mapper, connections and opener. */

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
#include "dial/conn.h"

#define FDS_MAX 2

/* A message with descriptors. */
struct fd_message {
	struct iovec iov;
	struct msghdr head;
	_Alignas(
	    struct cmsghdr) char control[CMSG_SPACE(FDS_MAX * sizeof(int))];
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

/* Sends data and n descriptors. Returns -1 with errno. */
static int
send_fds(int to, void *data, size_t length, const int *fds, size_t n)
{
	struct fd_message m;
	struct cmsghdr *c;

	fd_message_init(&m, data, length);
	c = CMSG_FIRSTHDR(&m.head);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = (socklen_t)CMSG_LEN(n * sizeof(*fds));
	memcpy(CMSG_DATA(c), fds, n * sizeof(*fds));
	m.head.msg_controllen = n ? (socklen_t)CMSG_SPACE(n * sizeof(*fds)) : 0;
	return sendmsg(to, &m.head, MSG_NOSIGNAL | MSG_DONTWAIT) == -1 ? -1 : 0;
}

/*
 * Receives data and *n descriptors, FDS_MAX at most. Returns -1 with errno, 0
 * at the end of the stream.
 */
static int
receive_fds(int from, void *data, size_t length, int *fds, size_t *n, int flags)
{
	struct fd_message m;
	const struct cmsghdr *c;
	ssize_t size;

	*n = 0;
	fd_message_init(&m, data, length);
	do
		size = recvmsg(from, &m.head, MSG_CMSG_CLOEXEC | flags);
	while (size == -1 && errno == EINTR);
	if (size <= 0)
		return size == 0 ? fail_errno(0) : -1;
	c = CMSG_FIRSTHDR(&m.head);
	if (c && c->cmsg_type == SCM_RIGHTS) {
		*n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(*fds);
		memcpy(fds, CMSG_DATA(c), *n * sizeof(*fds));
	}
	return 0;
}

/*
 * The opener gets the reading end of a pipe, and a socket that the connection
 * cannot send to: SHUT_WR forbids it for good.
 */
int
handover_offer(int opener, sa_family_t family, int *ask)
{
	int pipe[2], pair[2], number = family, result = -1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return -1;
	if (shutdown(pair[0], SHUT_WR) == 0 && pipe2(pipe, O_CLOEXEC) == 0) {
		const int fds[FDS_MAX] = {pipe[0], pair[1]};

		fcntl(pipe[0], F_SETPIPE_SZ, 1); /* of a limit for relays */
		result =
		    send_fds(opener, &number, sizeof(number), fds, FDS_MAX);
		close_keep_errno(pipe[0]);
		*ask = result == 0 ? pipe[1] : close_keep_errno(pipe[1]);
	}
	close_keep_errno(pair[1]);
	return result == -1 ? close_keep_errno(pair[0]) : pair[0];
}

int
handover_ask(int ask, const struct io *answer)
{
	int error = 0, fd = -1;
	size_t n;

	if (write(ask, "", 1) == -1 || io_wait_for(answer, POLLIN) == -1)
		return -1;
	if (receive_fds(answer->fd, &error, sizeof(error), &fd, &n,
		MSG_DONTWAIT) == -1)
		return errno ? -1 : fail_errno(ENOBUFS);
	return n ? fd : fail_errno(error);
}

int
handover_receive(int mapper, struct handover *h)
{
	int number, fds[FDS_MAX];
	size_t n;

	if (receive_fds(mapper, &number, sizeof(number), fds, &n,
		MSG_DONTWAIT) == -1)
		return -1;
	if (n < FDS_MAX) { /* no more descriptors */
		if (n)
			close(fds[0]);
		return fail_errno(EMFILE);
	}
	*h = (struct handover){fds[0], fds[1], number == AF_INET6};
	return 0;
}

void
handover_answer(int answer, int udp_fd, int error)
{
	send_fds(answer, &error, sizeof(error), &udp_fd, udp_fd != -1);
}

int
handover_give(int channel, struct conn *conn)
{
	return send_fds(channel, conn, sizeof(*conn), &conn->client, 1);
}

int
handover_take(int channel, struct conn *conn)
{
	int fds[FDS_MAX];
	size_t n;

	if (receive_fds(channel, conn, sizeof(*conn), fds, &n, 0) == -1)
		return -1;
	conn->client = n ? fds[0] : -1;
	return n ? 0 : fail_errno(EPROTO);
}
