/* Installs filters of system calls, by the role of a process. */

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>

#include "base/seccomp.h"

#include "base/array.h"
#include "base/sock.h"
#include "base/syscall_numbers.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif /* both are little-endian, which begin_arg_rule() relies on */

#define PROGRAM_MAX 256

/*
 * A filter. If the rules do not fit into code[], the filter has no verdict at
 * its end, so that the kernel refuses it.
 */
struct bpf_program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned short length;
};

/* clang-format off */

/*
 * Calls of all roles. strace(1) makes a call fail by replacing its number by
 * -1. restart_syscall(2) continues a poll(2) that SIGSTOP interrupted.
 */
static const int common_calls[] = {
	-1,
	SYS_recvfrom, SYS_sendto,
	SYS_close, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
	SYS_clock_gettime, SYS_exit_group, SYS_restart_syscall, SYS_ppoll,
#ifdef SYS_poll
	SYS_poll,
#endif
#ifdef SYS_epoll_wait
	SYS_epoll_wait,
#endif
};

/* Calls to log, connect and set socket options: see build_full(). */
static const int socket_calls[] = {
	SYS_write, SYS_getsockopt, SYS_getsockname, SYS_getpeername,
};

/* Calls to fork and reap, and of the child before it reads. */
static const int fork_calls[] = {
	SYS_wait4, SYS_read, SYS_close_range, SYS_rt_sigprocmask,
	SYS_set_robust_list, SYS_set_tid_address, SYS_gettid, SYS_getpid,
#ifdef SYS_fork
	SYS_fork,
#endif
};

/* Calls for files that are no sockets, which epoll(7) may refuse. */
static const int stdio_calls[] = {
	SYS_read, SYS_write,
};

/* Calls of dns/, which opens and reads files. */
static const int names_calls[] = {
	SYS_openat, SYS_openat2, SYS_read, SYS_fstat, SYS_newfstatat,
	SYS_getrandom,
};

/* Calls of container/, but see build_tracker(). */
static const int tracker_calls[] = {
	SYS_read, SYS_fstat, SYS_newfstatat, SYS_getdents64, SYS_mremap,
	SYS_connect, SYS_pidfd_open, SYS_faccessat, SYS_geteuid, SYS_fcntl,
#ifdef SYS_access
	SYS_access, SYS_stat,
#endif
};

/* clang-format on */

/* Appends an instruction that skips yes or no instructions if it is a jump. */
static void
emit(struct bpf_program *p, unsigned code, uint32_t k, unsigned yes,
    unsigned no)
{
	if (p->length < PROGRAM_MAX)
		p->code[p->length++] =
		    (struct sock_filter){(unsigned short)code,
			(unsigned char)yes, (unsigned char)no, k};
}

/* Loads a 32-bit field of struct seccomp_data. */
static void
load(struct bpf_program *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void
verdict(struct bpf_program *p, uint32_t action)
{
	emit(p, BPF_RET | BPF_K, action, 0, 0);
}

/* Allows the call if the value loaded last is one of n. */
static void
allow(struct bpf_program *p, const int *values, size_t n)
{
	for (size_t left = n; left--;)
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)*values++,
		    (unsigned)left, left ? 0 : 1);
	verdict(p, SECCOMP_RET_ALLOW);
}
#define ALLOW(p, ...)                        \
	allow(p, (const int[]){__VA_ARGS__}, \
	    ARRAY_LEN(((const int[]){__VA_ARGS__})))

/*
 * Starts a rule for one call, by the lower 32 bits of an argument, because the
 * kernel uses no more of the arguments that are checked. end_arg_rule() ends
 * the rule. Returns the position of the jump that end_arg_rule() completes.
 */
static unsigned short
begin_arg_rule(struct bpf_program *p, int call, int arg)
{
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 0);
	load(p, offsetof(struct seccomp_data, args[arg]));
	return (unsigned short)(p->length - 2);
}

/* Ends a rule: kills on any value that the rule did not allow. */
static void
end_arg_rule(struct bpf_program *p, unsigned short at)
{
	verdict(p, SECCOMP_RET_KILL_PROCESS);
	p->code[at].jf = (unsigned char)(p->length - at - 1);
}
#define ALLOW_ARG(p, call, arg, ...)                               \
	do {                                                       \
		unsigned short at_ = begin_arg_rule(p, call, arg); \
		ALLOW(p, __VA_ARGS__);                             \
		end_arg_rule(p, at_);                              \
	} while (0)

/*
 * Allows the calls that move bytes between streams. SHUT_WR alone does not end
 * a listener, which has nothing to write.
 */
static void
allow_streams(struct bpf_program *p)
{
	ALLOW(p, SYS_splice, SYS_pipe2);
	ALLOW_ARG(p, SYS_shutdown, 1, SHUT_WR);
	ALLOW_ARG(p, SYS_fcntl, 1, F_GETPIPE_SZ, F_SETPIPE_SZ);
}

/*
 * Allows connect(2). A connection cannot connect its client's socket anew,
 * which would lead into the listen namespace, because that socket is on no
 * descriptor above SANDBOX_CLIENT_FD, and dup3(2) makes no others.
 */
static void
allow_connect(struct bpf_program *p, unsigned flags)
{
	unsigned short at = begin_arg_rule(p, SYS_connect, 0);

	if (!(flags & SANDBOX_FORK) || flags & SANDBOX_POOL)
		emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
	else
		emit(p, BPF_JMP | BPF_JGT | BPF_K, SANDBOX_CLIENT_FD, 0, 1);
	verdict(p, SECCOMP_RET_ALLOW);
	end_arg_rule(p, at);
}

#define OPTION(level, name) ((level) << 16 | (name))

/* Allows SO_LINGER with the constants of base/sock.c, and kills with others. */
static void
allow_linger(struct bpf_program *p)
{
	const uint64_t off = (uintptr_t)&sock_linger[0],
		       on = (uintptr_t)&sock_linger[1];
	const size_t arg = offsetof(struct seccomp_data, args[3]);

	emit(p, BPF_JMP | BPF_JEQ | BPF_K, OPTION(SOL_SOCKET, SO_LINGER), 0, 7);
	load(p, arg);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)off, 1, 0);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)on, 0, 3);
	load(p, arg + sizeof(uint32_t));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(off >> 32), 0, 1);
	verdict(p, SECCOMP_RET_ALLOW);
	verdict(p, SECCOMP_RET_KILL_PROCESS);
}

/*
 * Allows socket options by level and name: of streams, of the sockets of dial/
 * and dns/, and of datagrams. No others, because an option of a listener stays
 * when the process that set it has ended.
 */
static void
allow_options(struct bpf_program *p, unsigned flags)
{
	unsigned short at = begin_arg_rule(p, SYS_setsockopt, 1);

	emit(p, BPF_ALU | BPF_LSH | BPF_K, 16, 0, 0);
	emit(p, BPF_MISC | BPF_TAX, 0, 0, 0);
	load(p, offsetof(struct seccomp_data, args[2]));
	emit(p, BPF_ALU | BPF_OR | BPF_X, 0, 0, 0);
	allow_linger(p);
	if (flags)
		ALLOW(p, OPTION(IPPROTO_TCP, TCP_NODELAY),
		    OPTION(SOL_SOCKET, SO_KEEPALIVE),
		    OPTION(SOL_SOCKET, SO_OOBINLINE),
		    OPTION(SOL_SOCKET, SO_MARK));
	if (flags & (SANDBOX_NAMES | SANDBOX_DEVICE))
		ALLOW(p, OPTION(SOL_SOCKET, SO_BINDTODEVICE));
	if (flags & SANDBOX_BIND)
		ALLOW(p, OPTION(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT));
	if (flags & (SANDBOX_UDP | SANDBOX_HANDOVER))
		ALLOW(p, OPTION(SOL_SOCKET, SO_RCVBUF),
		    OPTION(SOL_SOCKET, SO_RCVBUFFORCE),
		    OPTION(SOL_SOCKET, SO_BROADCAST),
		    OPTION(IPPROTO_UDP, UDP_GRO),
		    OPTION(IPPROTO_IP, IP_MTU_DISCOVER),
		    OPTION(IPPROTO_IP, IP_PKTINFO),
		    OPTION(IPPROTO_IP, IP_RECVTOS),
		    OPTION(IPPROTO_IPV6, IPV6_MTU_DISCOVER),
		    OPTION(IPPROTO_IPV6, IPV6_RECVPKTINFO),
		    OPTION(IPPROTO_IPV6, IPV6_RECVTCLASS));
	if (flags & SANDBOX_HANDOVER)
		ALLOW(p, OPTION(IPPROTO_IPV6, IPV6_V6ONLY));
	end_arg_rule(p, at);
}

/* Allows fork(2) with the flags of both libcs, and to continue processes. */
static void
allow_fork(struct bpf_program *p)
{
	allow(p, fork_calls, ARRAY_LEN(fork_calls));
	ALLOW_ARG(p, SYS_dup3, 1, STDERR_FILENO, SANDBOX_CLIENT_FD);
	ALLOW_ARG(p, SYS_clone, 0, SIGCHLD,
	    SIGCHLD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID);
	ALLOW_ARG(p, SYS_kill, 1, SIGCONT);
	ALLOW_ARG(p, SYS_prlimit64, 0, 0); /* only of this process */
}

/* Allows malloc(3), without memory that is or becomes executable. */
static void
allow_malloc(struct bpf_program *p)
{
	ALLOW(p, SYS_brk, SYS_munmap);
	ALLOW_ARG(p, SYS_mmap, 2, PROT_NONE, PROT_READ | PROT_WRITE);
	ALLOW_ARG(p, SYS_mprotect, 2, PROT_READ | PROT_WRITE);
	ALLOW_ARG(p, SYS_madvise, 2, MADV_DONTNEED, MADV_FREE);
}

/*
 * Allows socket(2) for TCP and UDP only, so that no other protocol of the
 * kernel can be attacked. With SANDBOX_UNIX, UNIX sockets are allowed as well.
 */
static void
allow_socket(struct bpf_program *p, unsigned flags)
{
	unsigned short at = begin_arg_rule(p, SYS_socket, 1);

	emit(p, BPF_ALU | BPF_AND | BPF_K, 0xf, 0, 0);
	emit(p, BPF_JMP | BPF_JGT | BPF_K, SOCK_RAW, 4, 0);
	load(p, offsetof(struct seccomp_data, args[2]));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 2, 0);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 1, 0);
	verdict(p, SECCOMP_RET_KILL_PROCESS);
	load(p, offsetof(struct seccomp_data, args[0]));
	ALLOW(p, AF_INET, AF_INET6, (flags & SANDBOX_UNIX) ? AF_UNIX : AF_INET);
	end_arg_rule(p, at);
}

/*
 * Allows the calls of all roles, but those that have a filter of their own.
 */
static void
build_full(struct bpf_program *p, unsigned flags)
{
	if (!(flags & SANDBOX_UDP))
		allow_streams(p);
	allow_options(p, flags);
	allow(p, socket_calls, ARRAY_LEN(socket_calls));
	allow_connect(p, flags);
	if (flags & SANDBOX_TCP)
		ALLOW(p, SYS_accept4);
	if (flags & SANDBOX_FORK)
		allow_fork(p);
	if (flags & SANDBOX_HANDOVER) {
		ALLOW(p, SYS_recvmsg, SYS_recvmmsg, SYS_sendmmsg);
		/* Not in a connection, which could pass itself its client. */
		if (flags & SANDBOX_FORK || !(flags & SANDBOX_TCP))
			ALLOW(p, SYS_sendmsg);
		if (flags & SANDBOX_FORK)
			ALLOW_ARG(p, SYS_socketpair, 0, AF_UNIX);
		else
			ALLOW_ARG(p, SYS_prlimit64, 0, 0); /* give_up_udp() */
	}
	if (flags & SANDBOX_POOL)
		ALLOW_ARG(p, SYS_mprotect, 2, PROT_NONE, PROT_READ);
	if (flags & SANDBOX_UDP)
		ALLOW(p, SYS_recvmmsg, SYS_sendmmsg);
	if (flags & SANDBOX_NAMES)
		allow(p, names_calls, ARRAY_LEN(names_calls));
	if (flags & SANDBOX_PROXY)
		allow_malloc(p);
	else
		ALLOW_ARG(p, SYS_madvise, 2, MADV_DONTNEED);
	if (flags & SANDBOX_MAY_NARROW)
		ALLOW(p, SYS_seccomp);
	if (flags & SANDBOX_STDIO) {
		ALLOW(p, SYS_read);
		ALLOW_ARG(p, SYS_prlimit64, 0, 0);
	}
	if (flags & SANDBOX_BIND)
		ALLOW(p, SYS_bind);
	allow_socket(p, flags);
	ALLOW_ARG(p, SYS_ioctl, 1, SIOCGIFINDEX, FIONREAD, SIOCOUTQ,
	    SIOCOUTQNSD);
}

/* Allows to open a file, but not to write or to make one. */
static void
allow_open(struct bpf_program *p, int call, int arg)
{
	unsigned short at = begin_arg_rule(p, call, arg);

	emit(p, BPF_ALU | BPF_AND | BPF_K,
	    O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, 0, 0);
	ALLOW(p, 0);
	end_arg_rule(p, at);
}

static void
build_tracker(struct bpf_program *p)
{
	allow(p, tracker_calls, ARRAY_LEN(tracker_calls));
	allow_open(p, SYS_openat, 2);
#ifdef SYS_open
	allow_open(p, SYS_open, 1);
#endif
	allow_malloc(p);
	ALLOW_ARG(p, SYS_socket, 0, AF_UNIX);
}

static void
build_answer(struct bpf_program *p)
{
	ALLOW(p, SYS_write, SYS_writev);
	ALLOW_ARG(p, SYS_shutdown, 1, SHUT_WR);
}

/* Allows what a relay needs; with SANDBOX_STDIO between other files, too. */
static void
build_relay(struct bpf_program *p, unsigned flags)
{
	allow_streams(p);
	allow_options(p, flags);
	ALLOW_ARG(p, SYS_madvise, 2, MADV_DONTNEED);
	ALLOW_ARG(p, SYS_ioctl, 1, FIONREAD, SIOCOUTQ, SIOCOUTQNSD);
	ALLOW_ARG(p, SYS_getsockopt, 2, TCP_INFO);
	if (flags)
		allow(p, stdio_calls, ARRAY_LEN(stdio_calls));
}

static void
build(struct bpf_program *p, unsigned flags)
{
	load(p, offsetof(struct seccomp_data, arch));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	verdict(p, SECCOMP_RET_KILL_PROCESS);
	load(p, offsetof(struct seccomp_data, nr));
	allow(p, common_calls, ARRAY_LEN(common_calls));
	switch (flags) {
	case SANDBOX_RELAY:
	case SANDBOX_STDIO:
		build_relay(p, flags);
		break;
	case SANDBOX_ANSWER:
		build_answer(p);
		break;
	case SANDBOX_TRACKER:
		build_tracker(p);
		break;
	default:
		build_full(p, flags);
	}
	verdict(p, SECCOMP_RET_KILL_PROCESS);
}

int
sandbox_seccomp(unsigned flags)
{
	struct bpf_program p = {.length = 0};
	struct sock_fprog program = {.filter = p.code};

#ifdef NO_SECCOMP
	return 0;
#endif
	build(&p, flags);
	program.len = p.length;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
