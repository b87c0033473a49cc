/* Passes a descriptor from a mapper to one of its connections, see unix(7). */

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "tcp/handover.h"

#include "base/io.h"

/* A message of one byte, with room for one descriptor. */
struct fd_message {
	char byte;
	struct iovec iov;
	struct msghdr head;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};

static void
fd_message_init(struct fd_message *m)
{
	memset(m, 0, sizeof(*m));
	m->iov = (struct iovec){&m->byte, 1};
	m->head.msg_iov = &m->iov;
	m->head.msg_iovlen = 1;
	m->head.msg_control = m->control;
	m->head.msg_controllen = sizeof(m->control);
}

int
handover_init(struct handover *h)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, pair) == -1)
		return -1;
	h->mapper_end = pair[0];
	h->conn_end = pair[1];
	return 0;
}

int
handover_ask(const struct io *io)
{
	struct fd_message m;
	const struct cmsghdr *c;
	int fd;

	fd_message_init(&m);
	if (send(io->fd, &m.byte, 1, MSG_NOSIGNAL) == -1 ||
	    io_wait_for(io, POLLIN) == -1 ||
	    recvmsg(io->fd, &m.head, MSG_CMSG_CLOEXEC) == -1)
		return -1;
	c = CMSG_FIRSTHDR(&m.head);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return fail_errno(ECONNRESET);
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int
handover_answer(struct handover *h, int udp_fd)
{
	struct fd_message m;
	struct cmsghdr *c;
	ssize_t n;

	fd_message_init(&m);
	c = CMSG_FIRSTHDR(&m.head);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(udp_fd));
	memcpy(CMSG_DATA(c), &udp_fd, sizeof(udp_fd));
	n = recv(h->mapper_end, &m.byte, 1, MSG_DONTWAIT);
	if (n == 1 && !h->answered)
		h->answered = sendmsg(h->mapper_end, &m.head,
				  MSG_NOSIGNAL | MSG_DONTWAIT) != -1;
	return n == 0 ? -1 : 0;
}

static void
discard_all(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, MSG_DONTWAIT) > 0)
		;
}

/* The connection has no other end that could send meanwhile. */
void
handover_reset(struct handover *h)
{
	discard_all(h->mapper_end);
	if (h->answered)
		discard_all(h->conn_end);
	h->answered = false;
}
