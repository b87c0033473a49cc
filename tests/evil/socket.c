/* Attacks on sockets: new ones, and those that others share. */

#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/filter.h>

#include "base/sock.h"
#include "dial/conn.h"
#include "mapper/mapper.h"

#include "tests/evil/evil.h"

/* Returns how many sockets can be open; an association needs most. */
static long
do_sockets(void)
{
	long n = 0;

	while (n < 1000 && socket(AF_INET, SOCK_STREAM, 0) != -1)
		n++;
	return n < 80 ? -EMFILE : n;
}

static long
connect_to(uint16_t port)
{
	struct sockaddr_in to = {AF_INET, htons(port), {htonl(0x7f000001)},
	    {0}};
	long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);

	return result(syscall(SYS_connect, fd, &to, sizeof(to)));
}

static long
do_connect(void)
{
	return connect_to(8080);
}

static long
do_bind(void)
{
	struct sockaddr_in to = {AF_INET, 0, {htonl(0x7f000001)}, {0}};
	long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);

	return result(syscall(SYS_bind, fd, &to, sizeof(to)));
}

static long
make_socket(int family, int type, int protocol)
{
	return result(syscall(SYS_socket, family, type, protocol));
}

static long
do_netlink_route(void)
{
	return make_socket(AF_NETLINK, SOCK_RAW, 0);
}

static long
do_netlink_xfrm(void)
{
	return make_socket(AF_NETLINK, SOCK_RAW, 6);
}

static long
do_packet(void)
{
	return make_socket(AF_PACKET, SOCK_RAW, 0);
}

static long
do_raw(void)
{
	return make_socket(AF_INET, SOCK_RAW, IPPROTO_TCP);
}

static long
do_unix(void)
{
	return make_socket(AF_UNIX, SOCK_STREAM, 0);
}

static long
do_vsock(void)
{
	return make_socket(AF_VSOCK, SOCK_STREAM, 0);
}

/* Passes a descriptor to the peer of the client's socket. */
static long
send_descriptor(int to)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
			 .cmsg_level = SOL_SOCKET,
			 .cmsg_type = SCM_RIGHTS}};
	struct iovec iov = {NULL, 0};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof(control.bytes)};

	return result(syscall(SYS_sendmsg, to, &msg, MSG_NOSIGNAL));
}

static long
do_scm_send(void)
{
	return send_descriptor(victim ? victim->client : 3);
}

static long
do_scm_recv(void)
{
	char byte;
	char control[64];
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = sizeof(control)};
	long n = result(syscall(SYS_recvmsg, victim ? victim->client : 3, &msg,
	    MSG_DONTWAIT));

	return n < 0 ? n : msg.msg_controllen ? 1 : -EAGAIN;
}

/* Writes to the server what it does not expect, without end. */
static long
do_channel(void)
{
	static const char junk[5000];
	long n = 0;

	for (int i = 0; i < 1000; i++)
		n += syscall(SYS_sendto, args->channel, junk,
			 i % 3 == 0 ? 1 : 5000 - i, MSG_DONTWAIT | MSG_NOSIGNAL,
			 NULL, 0) > 0;
	return n ? n : -errno;
}

int
find_socket(int option, int value)
{
	socklen_t size = sizeof(int);
	int got;

	for (int fd = 0; fd < 1024; fd++)
		if (syscall(SYS_getsockopt, fd, SOL_SOCKET, option, &got,
			&size) == 0 &&
		    got == value)
			return fd;
	return -1;
}

static int
channel_fd(void)
{
	return find_socket(SO_TYPE, SOCK_SEQPACKET);
}

/* The channel of a mapper to the server, or of a connection to the opener. */
static long
do_chan_shut(void)
{
	return result(syscall(SYS_shutdown, channel_fd(), SHUT_WR));
}

static long
do_chan_shut_both(void)
{
	return result(syscall(SYS_shutdown, channel_fd(), SHUT_RDWR));
}

/* Passes what the other end could block on when it closes it. */
static long
do_chan_fd(void)
{
	return send_descriptor(channel_fd());
}

/* Fills the channel, so that the other end could block. */
static long
do_chan_block(void)
{
	int fd = channel_fd(), n = 0;

	while (n < 100000 &&
	    syscall(SYS_sendto, fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, NULL,
		0) > 0)
		n++;
	return n ? n : -errno;
}

/* Takes what the channel has for the process that is to come. */
static long
do_chan_take(void)
{
	char byte;

	return result(
	    syscall(SYS_recvfrom, channel_fd(), &byte, 1, MSG_DONTWAIT, 0, 0));
}

/* The pipe that tells workers to drain, or the mapper or the opener. */
int
find_pipe(void)
{
	for (int fd = 3; fd < 1024; fd++)
		if (syscall(SYS_fcntl, fd, F_GETPIPE_SZ) > 0)
			return fd;
	return -1;
}

static long
do_life_shut(void)
{
	return result(syscall(SYS_shutdown, find_pipe(), SHUT_WR));
}

static long
do_life_write(void)
{
	return result(syscall(SYS_write, find_pipe(), "xx", 2));
}

/*
 * A client's socket is one of the listen namespace: disconnected, it could be
 * connected to anything there. Asks with an address that the kernel cannot
 * read: EFAULT means that the filter lets the call through.
 */
long
reconnect(int fd)
{
	long n =
	    result(syscall(SYS_connect, fd, NULL, sizeof(struct sockaddr)));

	return n == -EFAULT ? 1 : n;
}

static long
do_source_client(void)
{
	return reconnect(victim ? victim->client : 3);
}

static long
do_source_listener(void)
{
	int fd = find_socket(SO_ACCEPTCONN, 1);

	return fd == -1 ? -EBADF : reconnect(fd);
}

/* Connects a socket by a datagram, as connect(2) would. */
static long
do_source_fastopen(void)
{
	const struct sockaddr_in to = {AF_INET, htons(8000),
	    {htonl(0x7f000001)}, {0}};

	return result(syscall(SYS_sendto, victim ? victim->client : 3, "", 0,
	    MSG_FASTOPEN | MSG_NOSIGNAL, &to, sizeof(to)));
}

/* Ends the clients in the queue of a listener, and later ones. */
static long
do_listener_shut(void)
{
	int fd = find_socket(SO_ACCEPTCONN, 1);

	return result(syscall(SYS_shutdown, fd, SHUT_WR));
}

static long
do_listener_shut_both(void)
{
	int fd = find_socket(SO_ACCEPTCONN, 1);

	return result(syscall(SYS_shutdown, fd, SHUT_RDWR));
}

/*
 * Options of a listener stay when the process has ended. Sets them on any
 * socket, because the filter does not tell one from another.
 */
static long
set_option(int level, int name, const void *value, socklen_t size)
{
	int fd = find_socket(SO_ACCEPTCONN, 1);

	return result(syscall(SYS_setsockopt,
	    fd != -1     ? fd
		: victim ? victim->client
			 : 3,
	    level, name, value, size));
}

#define SET_OPTION(attack, level, name)                                \
	static long do_##attack(void)                                  \
	{                                                              \
		const int value = 1;                                   \
                                                                       \
		return set_option(level, name, &value, sizeof(value)); \
	}
SET_OPTION(option_lock, SOL_SOCKET, SO_LOCK_FILTER)
SET_OPTION(option_reuseport, SOL_SOCKET, SO_REUSEPORT)
SET_OPTION(option_rate, SOL_SOCKET, SO_MAX_PACING_RATE)
SET_OPTION(option_sndbuf, SOL_SOCKET, SO_SNDBUF)
SET_OPTION(option_priority, SOL_SOCKET, SO_PRIORITY)
SET_OPTION(option_ttl, IPPROTO_IP, IP_TTL)
SET_OPTION(option_min_ttl, IPPROTO_IP, IP_MINTTL)
SET_OPTION(option_transparent, IPPROTO_IP, IP_TRANSPARENT)
SET_OPTION(option_defer, IPPROTO_TCP, 9)
SET_OPTION(option_repair, IPPROTO_TCP, 19)
SET_OPTION(option_ulp, IPPROTO_TCP, 31)
SET_OPTION(option_rcvbuf, SOL_SOCKET, SO_RCVBUF)

static long
do_option_device(void)
{
	return set_option(SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
}

/* A filter that lets nothing in. On no socket, because that would stay. */
static long
do_option_filter(void)
{
	struct sock_filter drop = {.code = BPF_RET | BPF_K};
	const struct sock_fprog all = {.len = 1, .filter = &drop};

	return result(syscall(SYS_setsockopt, -1, SOL_SOCKET, SO_ATTACH_FILTER,
	    &all, sizeof(all)));
}

/* The UDP socket of an association or of a mapper is used again by others. */
static int
udp_fd(void)
{
	return victim ? victim->udp_fd : args->listeners[0].fd;
}

static long
do_udp_connect(void)
{
	const struct sockaddr_in to = {AF_INET, htons(9), {htonl(0x7f000001)},
	    {0}};

	return result(syscall(SYS_connect, udp_fd(), &to, sizeof(to)));
}

static long
do_udp_unbind(void)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};

	return result(syscall(SYS_connect, udp_fd(), &none, sizeof(none)));
}

static long
do_udp_shut(void)
{
	return result(syscall(SYS_shutdown, udp_fd(), SHUT_RDWR));
}

/* Lets who closes a socket last wait until its bytes are acknowledged. */
static long
do_linger(void)
{
	static struct linger linger = {1, 25};

	return result(syscall(SYS_setsockopt, victim ? victim->client : 0,
	    SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
}

/* Changes what SO_LINGER may be set from, or what is at its place. */
static uintptr_t
linger_page(void)
{
	return (uintptr_t)sock_linger & -(uintptr_t)getpagesize();
}

static long
do_linger_write(void)
{
	return result(
	    syscall(SYS_mprotect, linger_page(), 1, PROT_READ | PROT_WRITE));
}

static long
do_linger_map(void)
{
	long n =
	    result(syscall(SYS_mmap, linger_page(), 1, PROT_READ | PROT_WRITE,
		MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	return n < 0 ? result(syscall(SYS_munmap, linger_page(), 1)) : n;
}

/* clang-format off */
const struct attack socket_attacks[] = {
	ATTACK(sockets), ATTACK(connect), ATTACK(bind), ATTACK(netlink_route),
	ATTACK(netlink_xfrm), ATTACK(packet), ATTACK(raw), ATTACK(unix),
	ATTACK(vsock), ATTACK(scm_send), ATTACK(scm_recv), ATTACK(channel),
	ATTACK(chan_shut), ATTACK(chan_shut_both), ATTACK(chan_block),
	ATTACK(chan_fd), ATTACK(chan_take), ATTACK(life_shut), ATTACK(life_write),
	ATTACK(source_client), ATTACK(source_listener),
	ATTACK(source_fastopen), ATTACK(listener_shut),
	ATTACK(listener_shut_both), ATTACK(option_device),
	ATTACK(option_filter), ATTACK(udp_connect), ATTACK(udp_unbind),
	ATTACK(udp_shut), ATTACK(option_lock), ATTACK(option_reuseport),
	ATTACK(option_rate), ATTACK(option_sndbuf), ATTACK(option_priority),
	ATTACK(option_ttl), ATTACK(option_min_ttl),
	ATTACK(option_transparent), ATTACK(option_defer),
	ATTACK(option_repair), ATTACK(option_ulp), ATTACK(option_rcvbuf),
	ATTACK(linger), ATTACK(linger_write), ATTACK(linger_map),
	{0},
};
/* clang-format on */
