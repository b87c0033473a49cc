/*
 * Asks the filters of base/seccomp.c what they let through. Each question is a
 * child that takes a role and makes one call; SIGSYS is the answer "no".
 *
 *   seccomp count   of each role, how many of all system calls kill
 *   seccomp look    calls that are let through or not by their arguments;
 *                   exit status 1, and a line, for each that is not as it says
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/seccomp.h"
#include "base/sock.h"

#define TCP    (SANDBOX_TCP | SANDBOX_FORK)
#define WORKER SANDBOX_TCP
#define POOL   (TCP | SANDBOX_POOL | SANDBOX_MAY_NARROW)
#define NAMES  (TCP | SANDBOX_NAMES | SANDBOX_MAY_NARROW)
#define PROXY  (NAMES | SANDBOX_PROXY | SANDBOX_HANDOVER)
#define HTTP   (PROXY & ~(SANDBOX_FORK | SANDBOX_HANDOVER))
#define OPENER (SANDBOX_BIND | SANDBOX_HANDOVER)
#define LIBC   (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID)

/* The system calls of x86-64 in Linux 6.0; other machines have a few more. */
static const int ranges[][2] = {{0, 334}, {424, 450}};

static const struct {
	const char *name;
	unsigned role;
} roles[] = {
    {"relay", SANDBOX_RELAY},
    {"http", HTTP},
    {"worker", WORKER},
    {"tcp", TCP},
    {"tcp+unix", TCP | SANDBOX_UNIX},
    {"tcp+names", NAMES},
    {"proxy", PROXY},
    {"udp", SANDBOX_UDP},
    {"opener", OPENER},
    {"udp+names", SANDBOX_UDP | SANDBOX_NAMES},
    {"tracker", SANDBOX_TRACKER},
};

/*
 * Makes a call in a child. Returns -1 if the filter killed the child, else its
 * exit status.
 */
static int
ask(unsigned role, long call, const long *arg)
{
	/* Some calls that the filter allows would wait. */
	const struct itimerval soon = {.it_value.tv_usec = 100000};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		setitimer(ITIMER_REAL, &soon, NULL);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
		    sandbox_seccomp(role) == -1)
			_exit(99);
		errno = 0;
		syscall(call, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
		_exit(errno == ENOSYS ? 98 : 0);
	}
	if (pid == -1 || waitpid(pid, &status, 0) != pid)
		exit(2);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return -1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 99)
		exit(2);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

static void
count(unsigned role, const char *name)
{
	static const long nothing[6];
	int total = 0, dead = 0;

	for (size_t i = 0; i < 2; i++)
		for (int nr = ranges[i][0]; nr <= ranges[i][1]; nr++) {
			total++;
			dead += ask(role, nr, nothing) == -1;
		}
	printf("%s: %d of %d killed, %d left\n", name, dead, total,
	    total - dead);
}

static const struct {
	const char *what;
	unsigned role;
	int want; /* -1 killed, 0 let through */
	long call, arg[6];
} questions[] = {
    {"fork", TCP, 0, SYS_clone, {SIGCHLD}},
    {"fork of glibc", TCP, 0, SYS_clone, {SIGCHLD | LIBC}},
    {"a sibling", TCP, -1, SYS_clone, {SIGCHLD | CLONE_PARENT}},
    {"a child nobody reaps", TCP, -1, SYS_clone, {0}},
    {"fork", WORKER, -1, SYS_clone, {SIGCHLD}},
    {"wait", WORKER, -1, SYS_wait4, {0}},
    {"accept", WORKER, 0, SYS_accept4, {-1}},
    {"hiding memory", POOL, 0, SYS_mprotect, {0, 0, PROT_READ}},
    {"showing memory", POOL, -1, SYS_mprotect, {0, 0, PROT_WRITE}},
    {"hiding memory", WORKER, -1, SYS_mprotect, {0, 0, PROT_READ}},
    {"kill", TCP, -1, SYS_kill, {1 << 22, SIGKILL}},
    {"kill, signal 0", TCP, -1, SYS_kill, {1 << 22, 0}},
    {"SIGCONT", TCP, 0, SYS_kill, {1 << 22, SIGCONT}},
    {"SIGCONT", WORKER, -1, SYS_kill, {1 << 22, SIGCONT}},
    {"SIGCONT", SANDBOX_UDP, -1, SYS_kill, {1 << 22, SIGCONT}},
    {"fork", HTTP, -1, SYS_clone, {SIGCHLD}},
    {"SIGCONT", HTTP, -1, SYS_kill, {1 << 22, SIGCONT}},
    {"messages", HTTP, -1, SYS_sendmsg, {-1}},
    {"messages", PROXY, 0, SYS_sendmsg, {-1}},
    {"a user namespace", TCP, -1, SYS_clone, {SIGCHLD | CLONE_NEWUSER}},
    {"a thread", TCP, -1, SYS_clone, {CLONE_VM}},
    {"clone3", TCP, -1, SYS_clone3, {0}},
    {"execve", NAMES, -1, SYS_execve, {0}},
    {"malloc", NAMES, -1, SYS_mmap, {0}},
    {"malloc", PROXY, 0, SYS_mmap, {0, 0, PROT_READ | PROT_WRITE}},
    {"code", PROXY, -1, SYS_mmap, {0, 0, PROT_READ | PROT_EXEC}},
    {"code", PROXY, -1, SYS_mprotect, {0, 0, PROT_READ | PROT_EXEC}},
    {"malloc", PROXY, 0, SYS_madvise, {0, 0, MADV_FREE}},
    {"madvise", TCP, 0, SYS_madvise, {0, 0, MADV_DONTNEED}},
    {"madvise", TCP, -1, SYS_madvise, {0, 0, MADV_DONTFORK}},
    {"ptrace", NAMES, -1, SYS_ptrace, {0}},
    {"setns", NAMES, -1, SYS_setns, {0}},
    {"TCP", TCP, 0, SYS_socket, {AF_INET, SOCK_STREAM}},
    {"TCP, IPv6", TCP, 0, SYS_socket, {AF_INET6, SOCK_STREAM}},
    {"UDP", NAMES, 0, SYS_socket, {AF_INET, SOCK_DGRAM, IPPROTO_UDP}},
    {"MPTCP", NAMES, -1, SYS_socket, {AF_INET, SOCK_STREAM, 262}},
    {"SCTP", TCP, -1, SYS_socket, {AF_INET, SOCK_STREAM, IPPROTO_SCTP}},
    {"DCCP", TCP, -1, SYS_socket, {AF_INET6, 6}},
    {"a packet socket", NAMES, -1, SYS_socket, {AF_PACKET, SOCK_RAW}},
    {"netlink", TCP, -1, SYS_socket, {AF_NETLINK, SOCK_RAW}},
    {"netlink", PROXY, -1, SYS_socket, {AF_NETLINK, SOCK_RAW}},
    {"UNIX", TCP, -1, SYS_socket, {AF_UNIX, SOCK_STREAM}},
    {"UNIX", TCP | SANDBOX_UNIX, 0, SYS_socket, {AF_UNIX, SOCK_STREAM}},
    {"nscd", PROXY, -1, SYS_socket, {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC}},
    {"UNIX datagrams", PROXY, -1, SYS_socket, {AF_UNIX, SOCK_DGRAM}},
    {"socket", SANDBOX_RELAY, -1, SYS_socket, {AF_INET, SOCK_STREAM}},
    {"open", TCP, -1, SYS_openat, {AT_FDCWD, (long)"/"}},
    {"open", NAMES, 0, SYS_openat, {AT_FDCWD, (long)"/"}},
    {"bind", TCP, -1, SYS_bind, {0}},
    {"bind", TCP | SANDBOX_BIND, 0, SYS_bind, {0}},
    {"listen", NAMES, -1, SYS_listen, {0}},
    {"accept", SANDBOX_UDP, -1, SYS_accept4, {0}},
    {"fork", SANDBOX_UDP, -1, SYS_clone, {SIGCHLD}},
    {"a second filter", TCP, -1, SYS_seccomp, {0}},
    {"a second filter", NAMES, 0, SYS_seccomp, {0}},
    {"a limit of its own", TCP, 0, SYS_prlimit64, {0, RLIMIT_CORE}},
    {"a limit of another", TCP, -1, SYS_prlimit64, {1, RLIMIT_CORE}},
    {"FIONREAD", TCP, 0, SYS_ioctl, {0, FIONREAD}},
    {"TIOCSTI", TCP, -1, SYS_ioctl, {0, TIOCSTI}},
    {"the size of a pipe", SANDBOX_RELAY, 0, SYS_fcntl, {0, F_SETPIPE_SZ}},
    {"a shared file", NAMES, -1, SYS_fcntl, {0, F_SETFL, O_RDWR}},
    {"the position", SANDBOX_RELAY, 0, SYS_ioctl, {0, FIONREAD}},
    {"a FIN", SANDBOX_RELAY, 0, SYS_getsockopt, {0, IPPROTO_TCP, TCP_INFO}},
    {"SO_ERROR", SANDBOX_RELAY, -1, SYS_getsockopt, {0, SOL_SOCKET, SO_ERROR}},
    {"a hung-up peer", SANDBOX_RELAY, 0, SYS_ppoll, {0}},
    {"a UNIX pair", PROXY, 0, SYS_socketpair, {AF_UNIX, SOCK_STREAM}},
    {"another pair", PROXY, -1, SYS_socketpair, {AF_INET, SOCK_STREAM}},
    {"a UNIX pair", NAMES, -1, SYS_socketpair, {AF_UNIX, SOCK_STREAM}},
    {"bind", OPENER, 0, SYS_bind, {-1}},
    {"fork", OPENER, -1, SYS_clone, {SIGCHLD}},
    {"accept", OPENER, -1, SYS_accept4, {0}},
    {"open", OPENER, -1, SYS_openat, {-1}},
    {"F_SETOWN", SANDBOX_RELAY, -1, SYS_fcntl, {0, F_SETOWN, 1}},
    {"F_SETOWN", NAMES, -1, SYS_fcntl, {0, F_SETOWN, 1}},
    {"a reset", SANDBOX_RELAY, 0, SYS_setsockopt,
	{0, SOL_SOCKET, SO_LINGER, (long)&sock_linger[1]}},
    {"no reset", TCP, 0, SYS_setsockopt,
	{0, SOL_SOCKET, SO_LINGER, (long)&sock_linger[0]}},
    {"to linger", SANDBOX_RELAY, -1, SYS_setsockopt,
	{0, SOL_SOCKET, SO_LINGER, (long)"linger"}},
    {"to linger", TCP, -1, SYS_setsockopt,
	{0, SOL_SOCKET, SO_LINGER, (long)&sock_linger[0] + 4}},
    {"SO_MARK", SANDBOX_RELAY, -1, SYS_setsockopt, {0, SOL_SOCKET, SO_MARK}},
    {"connect", SANDBOX_RELAY, -1, SYS_connect, {0}},
    {"to connect a client", TCP, -1, SYS_connect, {3}},
    {"to connect a client", PROXY, -1, SYS_connect, {0}},
    {"to connect a target", TCP, 0, SYS_connect, {4}},
    {"to connect a target", WORKER, 0, SYS_connect, {3}},
    {"a client's place", TCP, 0, SYS_dup3, {0, 3, O_CLOEXEC}},
    {"a target's place", TCP, -1, SYS_dup3, {3, 4, O_CLOEXEC}},
    {"an end", WORKER, 0, SYS_shutdown, {0, SHUT_WR}},
    {"the end of a listener", WORKER, -1, SYS_shutdown, {0, SHUT_RD}},
    {"an end", SANDBOX_UDP, -1, SYS_shutdown, {0, SHUT_WR}},
    {"TCP_NODELAY", TCP, 0, SYS_setsockopt, {0, IPPROTO_TCP, TCP_NODELAY}},
    {"SO_DEBUG", TCP, -1, SYS_setsockopt, {0, SOL_SOCKET, SO_DEBUG}},
    {"SO_DEBUG", TCP, -1, SYS_setsockopt, {0, SOL_SOCKET, 0x60001}},
    {"a socket's filter", TCP, -1, SYS_setsockopt,
	{0, SOL_SOCKET, SO_ATTACH_FILTER}},
    {"a socket's filter", PROXY, -1, SYS_setsockopt,
	{0, SOL_SOCKET, SO_ATTACH_FILTER}},
    {"an interface", TCP, -1, SYS_setsockopt, {0, SOL_SOCKET, SO_BINDTODEVICE}},
    {"an interface", TCP | SANDBOX_DEVICE, 0, SYS_setsockopt,
	{0, SOL_SOCKET, SO_BINDTODEVICE}},
    {"write", SANDBOX_RELAY, -1, SYS_write, {2}},
    {"write", SANDBOX_ANSWER, 0, SYS_write, {-1}},
    {"socket", SANDBOX_ANSWER, -1, SYS_socket, {AF_INET, SOCK_STREAM}},
    {"accept", SANDBOX_ANSWER, -1, SYS_accept4, {-1}},
    {"open", SANDBOX_ANSWER, -1, SYS_openat, {AT_FDCWD, (long)"/"}},
    {"fork", SANDBOX_ANSWER, -1, SYS_clone, {SIGCHLD}},
    {"SIGCONT", SANDBOX_ANSWER, -1, SYS_kill, {1 << 22, SIGCONT}},
    {"malloc", SANDBOX_ANSWER, -1, SYS_mmap, {0}},
    {"a second filter", SANDBOX_ANSWER, -1, SYS_seccomp, {0}},
    {"kill", SANDBOX_RELAY, -1, SYS_kill, {1 << 22}},
    {"free", SANDBOX_TRACKER, 0, SYS_madvise, {0, 0, MADV_FREE}},
    {"read a file", SANDBOX_TRACKER, 0, SYS_openat, {-1, 0, O_CLOEXEC}},
    {"write a file", SANDBOX_TRACKER, -1, SYS_openat, {-1, 0, O_RDWR}},
    {"make a file", SANDBOX_TRACKER, -1, SYS_openat, {-1, 0, O_CREAT}},
    {"ask", SANDBOX_TRACKER, 0, SYS_socket, {AF_UNIX, SOCK_STREAM}},
    {"ask others", SANDBOX_TRACKER, -1, SYS_socket, {AF_INET, SOCK_STREAM}},
#ifdef __x86_64__
    {"fork by the numbers of x32", TCP, -1, 0x40000000 | SYS_fork, {0}},
    {"read by the numbers of x32", TCP, -1, 0x40000000 | SYS_read, {0}},
#endif
};

static int
look(void)
{
	const size_t n = sizeof(questions) / sizeof(questions[0]);
	int wrong = 0;

	for (size_t i = 0; i < n; i++) {
		int got =
		    ask(questions[i].role, questions[i].call, questions[i].arg);

		if (got == questions[i].want)
			continue;
		printf("%s, role %u: %d, not %d\n", questions[i].what,
		    questions[i].role, got, questions[i].want);
		wrong = 1;
	}
	printf("%zu questions\n", n);
	return wrong;
}

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "look") == 0)
		return look();
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		count(roles[i].role, roles[i].name);
	return 0;
}
