/* Attacks on what a process that is kept, see tcp/kept.c, shares with others. */

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dial/conn.h"

#include "tests/evil/evil.h"

/* Receives a descriptor. Returns it, or an errno. */
static long
receive_fd(int from)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	char data[1024];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof(control.bytes)};
	long n = result(syscall(SYS_recvmsg, from, &msg, 0));

	return n < 0 ? n
	    : control.head.cmsg_type == SCM_RIGHTS
	    ? *(int *)CMSG_DATA(&control.head)
	    : -ENOMSG;
}

static int
type_of(int fd)
{
	socklen_t size = sizeof(int);
	int type;

	return syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size) ==
		0
	    ? type
	    : -1;
}

/* Tells the mapper that more clients were served than there are. */
static long
do_done_fill(void)
{
	static const char bytes[4000];

	return result(syscall(SYS_write, find_pipe(), bytes, sizeof(bytes)));
}

/*
 * Says that its client was served. Returns the next one, or an errno. Closes the
 * channel, so that the mapper hands over no other.
 */
static long
take_next(void)
{
	const int channel = find_socket(SO_TYPE, SOCK_SEQPACKET);
	long fd;

	if (syscall(SYS_write, find_pipe(), "", 1) != 1)
		return -errno;
	fd = receive_fd(channel);
	syscall(SYS_close, channel);
	return fd < 0 || type_of((int)fd) == SOCK_STREAM ? fd : -ENOMSG;
}

/* Sends to a client that it has kept after its time. */
static long
do_keep_client(void)
{
	const int old = victim ? victim->client : -1;
	long fd = take_next(), sent;

	if (fd < 0)
		return fd;
	sent = result(syscall(SYS_sendto, old, "x", 1, MSG_NOSIGNAL, 0, 0));
	report_to((int)fd);
	return sent;
}

/* Is given the next client, and reads what that sends. */
static long
do_next_client(void)
{
	char byte;
	long fd = take_next();

	if (fd < 0)
		return fd;
	report_to((int)fd);
	if (poll(&(struct pollfd){(int)fd, POLLIN, 0}, 1, -1) != 1 ||
	    syscall(SYS_recvfrom, fd, &byte, 1, 0, 0, 0) != 1)
		return -ENOMSG;
	return reconnect((int)fd);
}

/* Asks the opener for the socket that a client of SOCKS can ask for. */
static long
do_ask_udp(void)
{
	long fd = -EBADF;

	for (int i = 0; i < 1024; i++)
		if (syscall(SYS_fcntl, i, F_GETPIPE_SZ) > 0)
			fd = i;
	if (syscall(SYS_write, fd, "", 1) != 1)
		return -errno;
	for (int i = 0; i < 1024; i++)
		if (type_of(i) == SOCK_SEQPACKET)
			fd = i;
	fd = receive_fd((int)fd);
	return fd < 0 ? fd : type_of((int)fd) == SOCK_DGRAM ? 1 : -ENOMSG;
}

/* Looks for a target or a client, of this connection or of one before. */
static long
do_find_stream(void)
{
	long n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += type_of(fd) == SOCK_STREAM &&
		    (!victim || fd != victim->client);
	return n ? n : -EBADF;
}

/* clang-format off */
const struct attack kept_attacks[] = {
	ATTACK(done_fill), ATTACK(next_client), ATTACK(keep_client), ATTACK(ask_udp),
	ATTACK(find_stream),
	{0},
};
/* clang-format on */
