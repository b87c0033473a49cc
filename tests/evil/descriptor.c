/* Attacks on descriptors and files: the log, names, what is left open. */

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "dial/conn.h"

#include "tests/evil/evil.h"

char forged[] = "nsfwd: FORGED n \033[31m\n"; /* n: the stage */

static long
do_write_log(void)
{
	return result(syscall(SYS_write, 2, forged, strlen(forged)));
}

static long
do_write_stdout(void)
{
	return result(syscall(SYS_write, 1, forged, strlen(forged)));
}

static long
do_send_log(void)
{
	const struct sockaddr_un un = {AF_UNIX, "/dev/log"};

	return result(
	    syscall(SYS_sendto, 2, forged, 8, MSG_DONTWAIT, &un, sizeof(un)));
}

static long
do_shutdown_log(void)
{
	return result(syscall(SYS_shutdown, 2, SHUT_RDWR));
}

static long
do_read_stdin(void)
{
	char byte;

	return result(syscall(SYS_read, 0, &byte, 1)) > 0 ? 1 : -EBADF;
}

static long
do_splice_stdin(void)
{
	int pipe[2];

	if (syscall(SYS_pipe2, pipe, O_NONBLOCK) == -1)
		return -errno;
	return syscall(SYS_splice, 0, 0, pipe[1], 0, 1, SPLICE_F_NONBLOCK) > 0
	    ? 1
	    : -EBADF;
}

static long
open_file(const char *path, int flags)
{
	return result(syscall(SYS_openat, AT_FDCWD, path, flags, 0600));
}

static long
do_open_read(void)
{
	return open_file("/etc/passwd", O_RDONLY);
}

static long
do_open_write(void)
{
	return open_file("/dev/null", O_WRONLY);
}

static long
do_open_create(void)
{
	return open_file("/tmp/evil", O_RDWR | O_CREAT);
}

static long
do_open_mem(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)mapper);
	return open_file(path, O_RDONLY);
}

static long
do_open_ns(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)mapper);
	return open_file(path, O_RDONLY);
}

/* Looks for a descriptor that a connection should not have. */
static long
find_fd(int level, int option, int value)
{
	socklen_t size = sizeof(int);
	long n = 0;
	int got;

	for (int fd = 0; fd < 1024; fd++)
		if (syscall(SYS_getsockopt, fd, level, option, &got, &size) ==
			0 &&
		    got == value)
			n++;
	return n ? n : -EBADF;
}

static long
do_find_listener(void)
{
	return find_fd(SOL_SOCKET, SO_ACCEPTCONN, 1);
}

static long
do_find_channel(void)
{
	return find_fd(SOL_SOCKET, SO_TYPE, SOCK_SEQPACKET);
}

/* Finds a UDP socket by the refusal of a datagram for port 0. */
static long
do_find_udp(void)
{
	const struct sockaddr_in to = {AF_INET, 0, {htonl(0x7f000001)}, {0}};

	for (int fd = 0; fd < 1024; fd++)
		if ((!victim || fd != victim->client) &&
		    syscall(SYS_sendto, fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL,
			&to, sizeof(to)) == -1 &&
		    errno == EINVAL)
			return 1;
	return -EBADF;
}

/* Flags and locks of a file description count for all who have it open. */
static long
do_nonblock(void)
{
	int off = 0;

	return result(
	    syscall(SYS_ioctl, victim ? victim->client : 3, FIONBIO, &off));
}

static long
do_async(void)
{
	int on = 1;

	return result(
	    syscall(SYS_ioctl, victim ? victim->client : 3, FIOASYNC, &on));
}

static long
do_set_flags(void)
{
	return result(syscall(SYS_fcntl, 2, F_SETFL, O_ASYNC));
}

static long
do_set_owner(void)
{
	return result(syscall(SYS_fcntl, 2, F_SETOWN, mapper));
}

static long
do_lock_file(void)
{
	const struct flock all = {.l_type = F_WRLCK};

	return result(syscall(SYS_fcntl, 2, F_SETLK, &all));
}

static long
do_copy_fd(void)
{
	return result(
	    syscall(SYS_fcntl, victim ? victim->client : 3, F_DUPFD, 4));
}

/* Looks for a client's socket on a descriptor that connect(2) may have. */
static long
do_move_client(void)
{
	return result(
	    syscall(SYS_dup3, victim ? victim->client : 3, 4, O_CLOEXEC));
}

static long
do_setns_fds(void)
{
	for (int fd = 0; fd < 1024; fd++)
		if (syscall(SYS_setns, fd, 0) == 0)
			return fd;
	return -EBADF;
}

/* clang-format off */
const struct attack descriptor_attacks[] = {
	ATTACK(write_log), ATTACK(write_stdout), ATTACK(send_log),
	ATTACK(shutdown_log), ATTACK(read_stdin), ATTACK(splice_stdin),
	ATTACK(open_read), ATTACK(open_write), ATTACK(open_create),
	ATTACK(open_mem), ATTACK(open_ns), ATTACK(find_listener),
	ATTACK(find_channel), ATTACK(find_udp), ATTACK(nonblock),
	ATTACK(async), ATTACK(set_flags), ATTACK(set_owner),
	ATTACK(lock_file), ATTACK(copy_fd), ATTACK(move_client),
	ATTACK(setns_fds),
	{0},
};
/* clang-format on */
